"""Cancelling, invoking and signalling by request. Numbers: the server's behaviours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.wire.connect import Kind
from tests.e2e.api.served import Served, Worker, serve
from tests.unit.server.gateway.messages import ack, reply
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from tests.e2e.api.served import Call

STEP_ID = "a" * 40
UNKNOWN = "01K7T09A4B0000000000000000"
NO_ID = "nope"


async def wait(worker: Worker, call: Call, op: str, **opts: Any) -> None:
    """The function waits, and the server knows it."""
    told = {"op": op, "id": STEP_ID, "displayName": "await", "opts": opts}
    await worker.send(
        ack(call.id), reply(call.id, body=msgspec.json.encode([told]), request_version=2)
    )
    await worker.receive(Kind.WORKER_REPLY_ACK)


async def waiting_run(served: Served, worker: Worker) -> str:
    """A run that sleeps for an hour."""
    event_id = await served.send_event()
    await wait(worker, await worker.call(), "Sleep", duration="1h")
    (run,) = await served.runs_of(event_id)
    assert run["status"] == "Running"
    run_id: str = run["run_id"]
    return run_id


async def completed_run(served: Served, worker: Worker) -> str:
    event_id = await served.send_event()
    await worker.finish(await worker.call())
    run_id: str = (await served.ended(event_id))["run_id"]
    return run_id


async def code_of(served: Served, method: str, path: str, body: bytes | None = None) -> Any:
    """The status, and the code of the error."""
    status, answer = await served.request(method, path, body)
    if not answer:
        return status, ""
    found = msgspec.json.decode(answer)
    return status, found["errors"][0]["code"] if "errors" in found else found.get("code", "")


@pytest.mark.parametrize(
    ("method", "path", "first", "again", "ended", "unknown"),
    [
        ("DELETE", "/v0/runs/{}", 204, (204, ""), (404, "not_found"), 404),
        ("DELETE", "/v1/runs/{}", 200, (200, ""), (200, ""), 404),
        (
            "POST", "/v2/runs/{}/cancel", 200,
            (409, "run_already_cancelled"), (409, "run_already_ended"), 404,
        ),
    ],
)  # fmt: skip
@on_loop
async def test_a_run_is_cancelled_by_request(
    method: str, path: str, first: int, again: Any, ended: Any, unknown: int
) -> None:  # 20, 27
    async with serve() as served, served.worker() as worker:
        run_id = await waiting_run(served, worker)
        status, body = await served.request(method, path.format(run_id))
        assert status == first
        if path.startswith("/v2"):
            assert msgspec.json.decode(body)["data"] == {"runId": run_id}
        assert (await served.get(f"/v1/runs/{run_id}"))["data"]["status"] == "Cancelled"
        assert await code_of(served, method, path.format(run_id)) == again
        over = await completed_run(served, worker)
        assert await code_of(served, method, path.format(over)) == ended
        assert (await served.get(f"/v1/runs/{over}"))["data"]["status"] == "Completed"
        assert await code_of(served, method, path.format(UNKNOWN)) == (unknown, "not_found")
        assert (await code_of(served, method, path.format(NO_ID)))[0] == 400


@on_loop
async def test_a_signal_wakes_the_run_that_waits_for_it() -> None:  # 23
    async with serve() as served, served.worker() as worker:
        event_id = await served.send_event()
        body = msgspec.json.encode({"signal": "order-7", "data": {"n": 1}})
        assert await code_of(served, "POST", "/v1/signals", body) == (404, "not_found")
        await wait(worker, await worker.call(), "WaitForSignal", signal="order-7", timeout="1h")
        status, answer = await served.request("POST", "/v1/signals", body)
        assert status == 200
        (run,) = await served.runs_of(event_id)
        assert msgspec.json.decode(answer)["data"] == {"run_id": run["run_id"]}
        call = await worker.call()
        memo = {"data": {"signal": "order-7", "data": {"n": 1}}}
        assert call.body["steps"] == {STEP_ID: memo}
        status, answer = await served.request("POST", "/v1/signals", body)
        assert (status, msgspec.json.decode(answer)["error"]) == (404, "No signal found")


@on_loop
async def test_an_event_names_the_runs_that_went_on_with_it() -> None:
    async with serve() as served, served.worker() as worker:
        started = await served.send_event()
        await wait(worker, await worker.call(), "WaitForEvent", event="approved", timeout="1h")
        (run,) = await served.runs_of(started)
        event_id = await served.send_event("approved")
        await worker.call()
        told = (await served.get(f"/v1/events/{event_id}"))["data"]["told"]
        assert told == {"continued": [run["run_id"]]}
        assert "told" not in (await served.get(f"/v1/events/{started}"))["data"]


@on_loop
async def test_what_cancelled_a_run_is_shown() -> None:
    async with serve() as served, served.worker() as worker:
        run_id = await waiting_run(served, worker)
        assert "cancellation" not in (await served.get(f"/v2/runs/{run_id}"))["data"]
        status, _ = await served.request("DELETE", f"/v1/runs/{run_id}")
        assert status == 200
        by = {"reason": "a request"}
        assert (await served.get(f"/v2/runs/{run_id}"))["data"]["cancellation"] == by
        root = (await served.get(f"/v2/runs/{run_id}/trace"))["data"]["rootSpan"]
        assert root["cancellation"] == by
        status, page = await served.request("GET", f"/runs/{run_id}")
        assert (status, b"Cancelled by a request" in page) == (200, True)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'{"signal":7}', "invalid_json"),
        (b'{"data":1}', "missing_field"),
        (b'{"signal":""}', "missing_field"),
        (b'{"signal":"s","data":{"n":1e999}}', "invalid_json"),
    ],
)
@on_loop
async def test_what_is_no_signal_is_refused(body: bytes, code: str) -> None:
    async with serve() as served:
        assert await code_of(served, "POST", "/v1/signals", body) == (400, code)


@pytest.mark.parametrize("function", ["ship", "shop-ship"])
@on_loop
async def test_a_function_is_invoked_by_either_name(function: str) -> None:  # 26
    path = f"/api/v2/apps/shop/functions/{function}/invoke"
    async with serve() as served, served.worker() as worker:
        body = b'{"data":{"x":1234567890123456789}}'
        status, answer = await served.request("POST", path, body)
        assert status == 200
        run_id = msgspec.json.decode(answer)["data"]["runId"]
        call = await worker.call()
        assert call.fields.run_id == run_id
        assert call.body["event"]["name"] == "inngest/function.invoked"
        assert call.body["event"]["data"]["x"] == 1234567890123456789
        await worker.finish(call)
        runs = await served.get(f"/v2/apps/shop/functions/{function}/runs?includeOutput=true")
        (run,) = runs["data"]
        assert (run["id"], run["output"]) == (run_id, {"data": "done"})


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("/v2/apps/shop/functions/ship/invoke", b"{}", (400, "missing_field")),
        ("/v2/apps/shop/functions/ship/invoke", b'{"data":null}', (400, "missing_field")),
        ("/v2/apps/shop/functions/ship/invoke", b'{"data":[]}', (400, "invalid_json")),
        ("/v2/apps/shop/functions/nope/invoke", b'{"data":{}}', (404, "not_found")),
        ("/v2/apps/nope/functions/ship/invoke", b'{"data":{}}', (404, "not_found")),
        (
            "/v2/apps/shop/functions/ship/invoke",
            b'{"data":{},"idempotencyKey":"k"}',
            (501, "not_implemented"),
        ),
        (f"/v2/runs/{UNKNOWN}/rerun", b"{}", (501, "not_implemented")),
        ("/v2/events", b'{"data":{}}', (400, "missing_field")),
        ("/v2/events", b'{"name":"inngest/x"}', (400, "event_name_reserved")),
        ("/v2/events", b'{"name":"%b"}' % (b"n" * 513), (400, "invalid_field_format")),
        ("/v2/events", b"[]", (400, "invalid_json")),
    ],
)
@on_loop
async def test_what_cannot_be_done_is_refused(path: str, body: bytes, wanted: Any) -> None:
    async with serve() as served, served.worker() as worker:
        assert await code_of(served, "POST", path, body) == wanted
        assert await worker.is_idle()


@on_loop
async def test_an_event_is_sent_by_v2() -> None:
    async with serve() as served, served.worker() as worker:
        body = b'{"name":"shop/order.paid","data":{"order":8},"id":"order-8"}'
        status, answer = await served.request("POST", "/v2/events", body)
        assert status == 200
        event_id = msgspec.json.decode(answer)["data"]["eventId"]
        call = await worker.call()
        assert call.body["event"]["id"] == "order-8"
        (event,) = (await served.get("/v1/events?name=shop/order.paid"))["data"]
        assert (event["internal_id"], event["data"]) == (event_id, {"order": 8})


@on_loop
async def test_an_app_lists_its_functions_in_v1() -> None:
    async with serve() as served, served.worker():
        (function,) = await served.get("/v1/apps/shop/functions")
        assert (function["id"], function["archived_at"]) == ("shop-ship", None)
        assert function["config"]["triggers"] == [{"event": "shop/order.paid"}]
        assert await code_of(served, "GET", "/v1/apps/nope/functions") == (404, "not_found")
        assert await code_of(served, "GET", "/v1/prom/dev") == (501, "not_implemented")


@on_loop
async def test_the_account_the_environment_and_the_keys() -> None:
    start: dict[str, Any] = {
        "mode": "start",
        "host": "127.0.0.1",
        "signing_key": "ab" * 32,
        "event_keys": ("k",),
    }
    async with serve(**start) as served:

        async def get(path: str) -> Any:
            bearer = "Bearer " + "ab" * 32
            status, body = await served.request("GET", path, Authorization=bearer)
            assert status == 200, body
            return msgspec.json.decode(body)

        account = await get("/v2/account")
        assert account["data"]["id"] == "00000000-0000-4000-a000-000000000000"
        (environment,) = (await get("/v2/envs"))["data"]
        assert (environment["name"], environment["type"]) == ("dev", "PRODUCTION")
        assert [shown["key"] for shown in (await get("/v2/keys/events"))["data"]] == ["k"]
        (signing,) = (await get("/v2/keys/signing"))["data"]
        assert signing["key"] == "...abab"
        assert (await served.request("GET", "/v2/keys/signing"))[0] == 401


@on_loop
async def test_a_function_is_invoked_by_its_name() -> None:  # 15
    async with serve() as served, served.worker() as worker:
        name = "shop-ship"
        body = msgspec.json.encode({"name": "ignored", "data": {"x": 1}, "user": {"id": "u"}})
        status, answer = await served.request("POST", f"/invoke/{name}", body)
        assert status == 200, answer
        call = await worker.call()
        event = call.body["event"]
        assert event["name"] == "inngest/function.invoked"
        assert event["data"]["x"] == 1
        assert event["user"] == {"id": "u"}
        assert call.body["ctx"]["run_id"] == msgspec.json.decode(answer)["run_id"]
        assert await code_of(served, "POST", "/invoke/nobody", body) == (404, "not_found")
        assert await code_of(served, "POST", f"/invoke/{name}", b'{"data":7}') == (
            400,
            "invalid_json",
        )
