"""GraphQL as the suites of the official SDKs and their tools send it, over a whole server.

Numbers: the server's behaviours.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from stepwell.wire.connect import Kind
from tests.e2e.api.served import ANSWER_WAIT_S, Served, Worker, serve
from tests.unit.server.gateway.messages import ack, app, function, reply
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from tests.e2e.api.served import Call

STEP_ID = "a" * 40
ERROR = b'{"name":"E","message":"initial error","stack":"E: initial error"}'

TRACE = """
query GetTraceRun($runID: String!) {
  run(runID: $runID) {
    status traceID isBatch batchCreatedAt cronSchedule endedAt
    trace { ...TraceDetails childrenSpans { ...TraceDetails childrenSpans { ...TraceDetails } } }
  }
}
fragment TraceDetails on RunTraceSpan {
  name runID status attempts isRoot parentSpanID spanID startedAt endedAt duration outputID stepOp
  stepInfo {
    __typename
    ... on InvokeStepInfo {
      triggeringEventID functionID timeout returnEventID runID timedOut
    }
    ... on SleepStepInfo { sleepUntil }
    ... on WaitForEventStepInfo { eventName expression timeout foundEventID timedOut }
  }
}
"""
OUTPUT = """
query ($traceID: String!) {
  runTraceSpanOutputByID(outputID: $traceID) { data error { message name stack } }
}
"""


async def ask(served: Served, query: str, **variables: Any) -> dict[str, Any]:
    body = msgspec.json.encode({"query": query, "variables": variables})
    headers = {"Content-Type": "application/json"}
    status, answer = await served.request("POST", "/v0/gql", body, **headers)
    assert status == 200, answer
    found: dict[str, Any] = msgspec.json.decode(answer)
    return found


async def data(served: Served, query: str, **variables: Any) -> Any:
    answer = await ask(served, query, **variables)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


async def output(served: Served, output_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await data(served, OUTPUT, traceID=output_id))[
        "runTraceSpanOutputByID"
    ]
    return found


async def trace(served: Served, run_id: str) -> Any:
    return (await data(served, TRACE, runID=run_id))["run"]["trace"]


async def report(worker: Worker, call: Call, **op: Any) -> None:
    """The function met a step."""
    told = {"op": "StepRun", "id": STEP_ID, "displayName": "charge"} | op
    body = msgspec.json.encode([told])
    await worker.send(ack(call.id), reply(call.id, body=body, request_version=2))
    await worker.receive(Kind.WORKER_REPLY_ACK)


async def fail(worker: Worker, call: Call) -> None:
    """The function's body raised."""
    await worker.send(ack(call.id), reply(call.id, status=2, body=ERROR))
    await worker.receive(Kind.WORKER_REPLY_ACK)


async def run_of(served: Served, event_id: str) -> str:
    """As the Python suite finds it: by the event's internal id."""
    query = "query ($eventId: ID!) { event(query: {eventId: $eventId}) { functionRuns { id } } }"
    (run,) = (await data(served, query, eventId=event_id))["event"]["functionRuns"]
    run_id: str = run["id"]
    return run_id


@on_loop
async def test_the_python_suites_questions() -> None:  # 3, 28, 29, 31
    async with serve() as served, served.worker() as worker:
        query = "query ($id: ID!) { event(query: {eventId: $id}) { functionRuns { id } } }"
        assert "errors" in await ask(served, query, id="01K7T09A4B0000000000000000")
        event_id = await served.send_event()
        await report(worker, await worker.call(), data=[{"foo": 1}])
        await worker.finish(await worker.call(), b'"Hi"')
        await served.ended(event_id)
        run_id = await run_of(served, event_id)
        both = """query ($runId: String!) {
          run(runID: $runId) { output status } runTrigger(runID: $runId) { payloads }
        }"""
        answer = await data(served, both, runId=run_id)
        assert answer["run"] == {"output": '"Hi"', "status": "COMPLETED"}
        event = msgspec.json.decode(answer["runTrigger"]["payloads"][0])
        assert (event["name"], event["data"]) == ("shop/order.paid", {"order": 7})
        names = """query ($runId: String!) {
          run(runID: $runId) { trace { childrenSpans { name outputID } } }
        }"""
        spans = (await data(served, names, runId=run_id))["run"]["trace"]["childrenSpans"]
        assert [span["name"] for span in spans] == ["charge", "function success"]
        found = await output(served, spans[0]["outputID"])
        assert msgspec.json.decode(found["data"]) == [{"foo": 1}]
        assert found["error"] is None


@on_loop
async def test_the_typescript_suites_questions() -> None:  # 29
    async with serve() as served, served.worker() as worker:
        event_id = await served.send_event(id="order-7")
        event_query = "query ($id: ULID!) { eventV2(id: $id) { idempotencyKey name raw } }"
        event = (await data(served, event_query, id=event_id))["eventV2"]
        assert (event["idempotencyKey"], event["name"]) == ("order-7", "shop/order.paid")
        await report(worker, await worker.call(), data={"n": 1})
        await worker.finish(await worker.call(), b'{"ok":true}')
        await served.ended(event_id)
        stream = """query {
          stream(query: {limit: 999, includeInternalEvents: false}) {
            id trigger runs { id function { name } }
          }
        }"""
        (item,) = (await data(served, stream))["stream"]
        assert (item["id"], item["trigger"]) == (event_id, "shop/order.paid")
        run_id = item["runs"][0]["id"]
        root = """query ($runId: String!) {
          run(runID: $runId) { status trace(preview: true) { status outputID } }
        }"""
        run = (await data(served, root, runId=run_id))["run"]
        assert run["status"] == run["trace"]["status"] == "COMPLETED"
        whole = await output(served, run["trace"]["outputID"])
        assert msgspec.json.decode(whole["data"]) == {"ok": True}
        spans = """
        query ($runId: String!) {
          run(runID: $runId) {
            trace(preview: true) { ...Span childrenSpans { ...Span childrenSpans { ...Span } } }
          }
        }
        fragment Span on RunTraceSpan {
          name stepID spanID stepType attempts outputID status
          metadata { scope kind values updatedAt }
        }"""
        found = (await data(served, spans, runId=run_id))["run"]["trace"]
        assert found["name"] == "Run"
        charge, last = found["childrenSpans"]
        assert (charge["name"], charge["stepType"], charge["stepID"]) == ("charge", "RUN", STEP_ID)
        assert (last["name"], last["stepType"], last["stepID"], last["outputID"]) == (
            "Finalization", "FINALIZATION", None, None,
        )  # fmt: skip
        events = (await data(served, "{ events(query: {}) { id name payload } }"))["events"]
        assert {event["name"] for event in events} == {
            "shop/order.paid",
            "inngest/function.finished",
        }


@on_loop
async def test_the_go_suites_questions_about_a_wait() -> None:  # 9.2 of the reference
    async with serve(retry_interval_ms=600_000) as served, served.worker() as worker:
        event_id = await served.send_event()
        call = await worker.call()
        run_id = await run_of(served, event_id)
        await report(
            worker, call, op="WaitForEvent", displayName="dummy",
            opts={"event": "resume", "timeout": "30s"},
        )  # fmt: skip
        root = await trace(served, run_id)
        assert (root["status"], root["outputID"], root["endedAt"]) == ("RUNNING", None, None)
        assert (root["name"], root["isRoot"], root["parentSpanID"]) == ("shop-ship", True, None)
        (wait,) = root["childrenSpans"]
        assert (wait["name"], wait["status"], wait["attempts"]) == ("dummy", "WAITING", 0)
        assert (wait["stepOp"], wait["childrenSpans"]) == ("WAIT_FOR_EVENT", [])
        assert (wait["isRoot"], wait["parentSpanID"]) == (False, root["spanID"])
        assert wait["endedAt"] is wait["outputID"] is wait["duration"] is None
        info = wait["stepInfo"]
        assert (info["eventName"], info["timedOut"], info["foundEventID"]) == (
            "resume", None, None,
        )  # fmt: skip
        found_id = await served.send_event("resume", id="mine")
        await worker.finish(await worker.call(), b'"DONE"')
        await served.ended(event_id)
        root = await trace(served, run_id)
        wait, last = root["childrenSpans"]
        assert (wait["status"], last["name"]) == ("COMPLETED", "function success")
        assert "DONE" in (await output(served, root["outputID"]))["data"]
        assert "resume" in (await output(served, wait["outputID"]))["data"]
        info = wait["stepInfo"]
        assert (info["timedOut"], info["foundEventID"]) == (False, found_id)
        query = """query GetRun($runID: ID!) {
          functionRun(query: { functionRunId: $runID }) { output status }
        }"""
        run = (await data(served, query, runID=run_id))["functionRun"]
        assert run == {"output": '"DONE"', "status": "COMPLETED"}


@on_loop
async def test_the_go_suites_questions_about_an_invocation() -> None:
    both = app(functions=[function("shop-ship"), function("shop-pay", triggers=[{"event": "x"}])])
    async with serve() as served, served.worker(both) as worker:
        event_id = await served.send_event()
        call = await worker.call()
        await report(
            worker, call, op="InvokeFunction", displayName="invoke",
            opts={"function_id": "shop-pay", "payload": {"data": {"n": 1}}},
        )  # fmt: skip
        child = await worker.call()
        run_id = await run_of(served, event_id)
        (invoke,) = (await trace(served, run_id))["childrenSpans"]
        assert (invoke["name"], invoke["stepOp"], invoke["status"]) == (
            "invoke", "INVOKE", "WAITING",
        )  # fmt: skip
        assert invoke["stepInfo"]["timedOut"] is None
        await worker.finish(child, b'"invoked!"')
        await worker.finish(await worker.call(), b'"success"')
        await served.ended(event_id)
        root = await trace(served, run_id)
        invoke = root["childrenSpans"][0]
        assert (invoke["attempts"], invoke["childrenSpans"]) == (0, [])
        assert "invoked!" in (await output(served, invoke["outputID"]))["data"]
        info = invoke["stepInfo"]
        assert (info["timedOut"], info["functionID"]) == (False, "shop-pay")
        assert info["runID"] == child.fields.run_id
        finished = await served.get(f"/v1/events/{info['returnEventID']}")
        assert finished["data"]["name"] == "inngest/function.finished"
        assert finished["data"]["data"]["run_id"] == child.fields.run_id


@on_loop
async def test_the_go_suites_questions_about_a_failed_function() -> None:  # 30
    once = app(functions=[_with_retries("shop-ship", 1)])
    async with serve(retry_interval_ms=1_000) as served, served.worker(once) as worker:
        event_id = await served.send_event()
        await fail(worker, await worker.call())
        run_id = await run_of(served, event_id)
        root = await trace(served, run_id)
        (execute,) = root["childrenSpans"]
        assert (execute["name"], execute["status"], execute["outputID"]) == (
            "execute", "RUNNING", None,
        )  # fmt: skip
        first, queued = execute["childrenSpans"]
        assert (first["name"], first["status"]) == ("Attempt 0", "FAILED")
        assert (queued["name"], queued["spanID"], queued["status"]) == (
            "Attempt 1", "queued", "QUEUED",
        )  # fmt: skip
        found = await output(served, first["outputID"])
        assert (found["data"], found["error"]["message"]) == (None, "initial error")
        await fail(worker, await worker.call())
        await served.ended(event_id)
        root = await trace(served, run_id)
        (execute,) = root["childrenSpans"]
        assert (execute["name"], execute["status"], execute["attempts"]) == (
            "execute", "FAILED", 2,
        )  # fmt: skip
        assert [one["attempts"] for one in execute["childrenSpans"]] == [0, 1]
        assert {one["parentSpanID"] for one in execute["childrenSpans"]} == {root["spanID"]}
        for span in (root, execute, *execute["childrenSpans"]):
            found = await output(served, span["outputID"])
            assert (found["data"], found["error"]["stack"]) == (None, "E: initial error")


def _with_retries(slug: str, attempts: int) -> dict[str, Any]:
    config = function(slug)
    config["steps"]["step"]["retries"] = {"attempts": attempts}
    return config


@on_loop
async def test_a_run_is_cancelled_by_a_mutation() -> None:  # 20
    query = "mutation CancelRun($runID: ULID!) { cancelRun(runID: $runID) { id status } }"
    async with serve() as served, served.worker() as worker:
        event_id = await served.send_event()
        await report(worker, await worker.call(), op="Sleep", opts={"duration": "1h"})
        run_id = await run_of(served, event_id)
        for _ in range(2):
            run = (await data(served, query, runID=run_id))["cancelRun"]
            assert run == {"id": run_id, "status": "CANCELLED"}
        (sleep,) = (await trace(served, run_id))["childrenSpans"]
        assert (sleep["status"], sleep["stepInfo"]["__typename"]) == (
            "CANCELLED", "SleepStepInfo",
        )  # fmt: skip
        done = await served.send_event()
        await worker.finish(await worker.call())
        await served.ended(done)
        answer = await ask(served, query, runID=await run_of(served, done))
        assert answer["errors"][0]["message"] == "cannot cancel an ended run"
        assert answer["errors"][0]["extensions"]["code"] == "run_already_ended"
        answer = await ask(served, query, runID="01K7T09A4B0000000000000000")
        assert answer["errors"][0]["extensions"]["code"] == "not_found"


@on_loop
async def test_a_function_is_invoked_by_a_mutation() -> None:
    query = """mutation InvokeFunction($functionSlug: String!, $data: Map, $user: Map) {
      invokeFunction(data: $data, functionSlug: $functionSlug, user: $user)
    }"""
    async with serve() as served, served.worker() as worker:
        given = {"functionSlug": "shop-ship", "data": {"x": [1, {"y": None}]}, "user": {"id": "u"}}
        assert (await data(served, query, **given))["invokeFunction"] is True
        call = await worker.call()
        assert call.body["event"]["data"]["x"] == [1, {"y": None}]
        assert call.body["event"]["user"] == {"id": "u"}
        answer = await ask(served, query, functionSlug="shop-nope")
        assert answer["errors"][0]["extensions"]["code"] == "function_not_found"


@on_loop
async def test_what_this_version_cannot_do_says_so() -> None:
    async with serve() as served:
        for query in (
            'mutation { rerun(runID: "01K7T09A4B0000000000000000") }',
            'mutation { invokeFunction(functionSlug: "f", debugRunID: "x") }',
            'mutation { invokeFunction(functionSlug: "f", meta: {a: 1}) }',
        ):
            (found,) = (await ask(served, query))["errors"]
            assert found["extensions"]["code"] == "not_implemented"


@on_loop
async def test_apps_come_and_go_by_mutations() -> None:
    create = """mutation CreateApp($input: CreateAppInput!) {
      createApp(input: $input) { id name url connected error functionCount functions { slug } }
    }"""
    async with serve() as served, _AppServer(served) as url:
        shown = (await data(served, create, input={"url": url}))["createApp"]
        assert (shown["name"], shown["connected"], shown["error"]) == ("web", True, None)
        assert (shown["functionCount"], shown["functions"]) == (1, [{"slug": "web-ship"}])
        apps = (await data(served, "{ apps { name method } }"))["apps"]
        assert apps == [{"name": "web", "method": "SERVE"}]
        by_id = "query ($id: UUID!) { app(id: $id) { name url } }"
        assert (await data(served, by_id, id=shown["id"]))["app"]["name"] == "web"

        nowhere = url.replace("/api/", "/nothing/")
        gone = (await data(served, create, input={"url": nowhere}))["createApp"]
        assert (gone["name"], gone["connected"]) == (gone["url"], False)
        assert gone["error"]

        update = "mutation ($input: UpdateAppInput!) { updateApp(input: $input) { name url } }"
        moved = (await data(served, update, input={"id": shown["id"], "url": url}))["updateApp"]
        assert moved["name"] == "web"
        answer = await ask(served, update, input={"id": shown["id"], "url": nowhere})
        assert answer["errors"][0]["extensions"]["code"] == "app_not_found"

        delete = "mutation ($id: String!) { deleteApp(id: $id) }"
        assert (await data(served, delete, id=shown["id"]))["deleteApp"] == shown["id"]
        by_name = 'mutation { deleteAppByName(name: "web") }'
        assert (await data(served, by_name))["deleteAppByName"] is False
        assert (await ask(served, delete, id=shown["id"]))["errors"]
        functions = (await data(served, "{ functions { slug } }"))["functions"]
        assert functions == []


class _AppServer:
    """An app at a URL of its own: asked to sync, it registers with the server."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._url = ""

    async def __aenter__(self) -> str:
        web_app = web.Application()
        web_app.router.add_put("/api/inngest", self._sync)
        self._runner = web.AppRunner(web_app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self._url = f"http://127.0.0.1:{port}/api/inngest"
        return self._url

    async def __aexit__(self, *_exc: object) -> None:
        await self._runner.cleanup()

    async def _sync(self, _request: web.Request) -> web.Response:
        config = function("web-ship")
        url = f"{self._url}?fnId=web-ship&stepId=step"
        config["steps"]["step"]["runtime"] = {"type": "http", "url": url}
        body = msgspec.json.encode(
            {
                "appName": "web",
                "url": self._url,
                "deployType": "ping",
                "sdk": "py:v0.5.19",
                "framework": "test",
                "functions": [config],
            }
        )
        status, answer = await self._served.request("POST", "/fn/register", body)
        assert status == 200, answer
        answered = {"message": "Successfully registered", "modified": True}
        return web.json_response(answered, headers={"X-Inngest-SDK": "py:v0.5.19"})


@on_loop
async def test_many_may_ask_at_once() -> None:
    async with serve() as served, served.worker() as worker:
        event_id = await served.send_event()
        await worker.finish(await worker.call())
        await served.ended(event_id)
        run_id = await run_of(served, event_id)
        async with asyncio.timeout(ANSWER_WAIT_S):
            roots = await asyncio.gather(*[trace(served, run_id) for _ in range(20)])
        assert all(root == roots[0] for root in roots)
