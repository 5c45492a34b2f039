"""Runs, events, traces and outputs by id, as suites ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.engine.rows import HistoryKind, RunStatus, StepKind
from stepwell.server.api.graphql import reading
from tests.unit.server.api.bench import Api, open_api
from tests.unit.server.api.graphql.asking import data, error
from tests.unit.server.api.rows import (
    SHOP,
    T0_MS,
    ended,
    event_id,
    history,
    put_event,
    put_run,
    run_id,
    running,
    step,
    text,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from stepwell.engine.rows import Write

ERROR = b'{"name":"E","message":"m","stack":"at x","code":"unknown"}'
RUN = text(run_id(1))
EVENT = text(event_id(1))
STEP = f"{0:040x}"
DONE: list[Write] = [*SHOP, put_event(runs=(run_id(1),)), put_run(), running(), step(), ended()]
OUTPUT = """
query GetTraceSpanOutput($outputID: String!) {
  output: runTraceSpanOutputByID(outputID: $outputID) {
    input data error { message name stack cause }
  }
}
"""


async def output(api: Api, output_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await data(api, OUTPUT, outputID=output_id))["output"]
    return found


@on_loop
async def test_a_run_with_its_function_and_app() -> None:
    query = """
    query GetRun($runID: String!) {
      run(runID: $runID) {
        id status output eventName isBatch batchCreatedAt cronSchedule triggerIDs hasAI isDeferred
        function { slug name app { name } } app { externalID method connected }
      }
    }"""
    async with open_api(DONE) as api:
        run = (await data(api, query, runID=RUN))["run"]
        assert run == {
            "id": RUN,
            "status": "COMPLETED",
            "output": '{"ok":true}',
            "eventName": "shop/order.paid",
            "isBatch": False,
            "batchCreatedAt": None,
            "cronSchedule": None,
            "triggerIDs": [EVENT],
            "hasAI": False,
            "isDeferred": False,
            "function": {"slug": "shop-ship", "name": "shop-ship", "app": {"name": "shop"}},
            "app": {"externalID": "shop", "method": "CONNECT", "connected": False},
        }


@pytest.mark.parametrize(
    ("query", "path", "is_null"),
    [
        ('{ run(runID: "%s") { status } }', "run", False),  # server 28
        ('{ functionRun(query: {functionRunId: "%s"}) { status } }', "functionRun", False),
        ('{ event(query: {eventId: "%s"}) { name } }', "event", False),
        ('{ runTrigger(runID: "%s") { payloads } }', "runTrigger", True),
        ('{ runTrace(runID: "%s") { name } }', "runTrace", True),
        ('{ eventV2(id: "%s") { raw } }', "eventV2", True),
    ],
)
@on_loop
async def test_what_is_not_there_is_an_error(query: str, path: str, is_null: bool) -> None:
    async with open_api(SHOP) as api:
        for unknown, code in ((RUN, "not_found"), ("nope", "invalid_field_format")):
            asked = query % unknown
            body = msgspec.json.encode({"query": asked})
            answer = await api.post("/v0/gql", body)
            assert answer.json["data"] == (None if is_null else {path: None})
            assert (await error(api, asked))[::2] == (code, [path])


@pytest.mark.parametrize("preview", ["", "(preview: true)"])
@on_loop
async def test_outputs_are_found_by_the_ids_of_a_trace(preview: str) -> None:  # server 29
    query = f"""{{
      run(runID: "{RUN}") {{
        trace{preview} {{ outputID spanID childrenSpans {{ name outputID }} }}
      }}
    }}"""
    async with open_api(DONE) as api:
        trace = (await data(api, query))["run"]["trace"]
        whole = await output(api, trace["outputID"])
        assert (whole["data"], whole["error"]) == ('{"ok":true}', None)
        (event,) = msgspec.json.decode(whole["input"])
        assert (event["name"], event["data"]) == ("shop/order.paid", {"order": 7})
        charge = await output(api, trace["childrenSpans"][0]["outputID"])
        assert charge == {"input": None, "data": '{"n":1}', "error": None}


@on_loop
async def test_errors_are_outputs_in_parts() -> None:
    failed = history(0, HistoryKind.ATTEMPT_FAILED, step_id=STEP, name="charge", payload=ERROR)
    odd = step(1, name="odd", kind=StepKind.FAILED, data=b'"just text"')
    rows = [*DONE[:-2], failed, step(attempt=1), odd, ended(status=RunStatus.FAILED, output=ERROR)]
    query = f"""{{
      run(runID: "{RUN}") {{
        output trace {{ outputID childrenSpans {{ name outputID childrenSpans {{ outputID }} }} }}
      }}
    }}"""
    async with open_api(rows) as api:
        run = (await data(api, query))["run"]
        assert msgspec.json.decode(run["output"])["message"] == "m"  # server 32
        wanted = {"message": "m", "name": "E", "stack": "at x", "cause": None}
        charge, strange, _last = run["trace"]["childrenSpans"]
        for output_id in (run["trace"]["outputID"], charge["childrenSpans"][0]["outputID"]):
            shown = await output(api, output_id)
            assert (shown["data"], shown["error"]) == (None, wanted)
        assert (await output(api, charge["childrenSpans"][1]["outputID"]))["data"] == '{"n":1}'
        shown = await output(api, strange["outputID"])
        assert shown["error"] == {
            "message": "",
            "name": None,
            "stack": '"just text"',
            "cause": None,
        }


@pytest.mark.parametrize("given", ["", "nonsense", "e30=", "eyJydW4iOiJYIiwic3BhbiI6IlkifQ=="])
@on_loop
async def test_what_is_no_id_of_an_output_is_an_error(given: str) -> None:
    async with open_api(DONE) as api:
        code, _message, path = await error(api, OUTPUT, outputID=given)
        assert (code, path) == ("invalid_field_format", ["output"])


@on_loop
async def test_a_trigger_has_its_payload() -> None:  # server 31
    query = f"""{{
      runTrigger(runID: "{RUN}") {{ eventName IDs payloads timestamp isBatch batchID cron }}
    }}"""
    async with open_api(DONE) as api:
        trigger = (await data(api, query))["runTrigger"]
        (payload,) = trigger.pop("payloads")
        assert msgspec.json.decode(payload) == {
            "name": "shop/order.paid",
            "data": {"order": 7},
            "id": EVENT,
            "ts": T0_MS,
            "user": {},
        }
        assert trigger == {
            "eventName": "shop/order.paid",
            "IDs": [EVENT],
            "timestamp": "2026-09-21T14:13:20.000Z",
            "isBatch": False,
            "batchID": None,
            "cron": None,
        }


@on_loop
async def test_a_schedule_is_a_trigger_too() -> None:
    tick = put_event(name="inngest/scheduled.timer", data=b'{"cron":"* * * * *"}')
    query = f"""{{
      run(runID: "{RUN}") {{ cronSchedule }} runTrigger(runID: "{RUN}") {{ cron }}
      stream(query: {{includeInternalEvents: true}}) {{ trigger type }}
    }}"""
    async with open_api([*SHOP, tick, put_run()]) as api:
        assert await data(api, query) == {
            "run": {"cronSchedule": "* * * * *"},
            "runTrigger": {"cron": "* * * * *"},
            "stream": [{"trigger": "* * * * *", "type": "CRON"}],
        }


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (
            {"data": b"null"},
            {"data": {}, "id": EVENT, "name": "shop/order.paid", "ts": T0_MS, "v": None},
        ),
        (
            {"data": b'{"a":1}', "external_id": "order-7", "v": "1", "user": b'{"id":"u"}'},
            {"data": {"a": 1}, "id": "order-7", "name": "shop/order.paid", "ts": T0_MS, "v": "1"},
        ),
    ],
)
@on_loop
async def test_raw_has_exactly_five_keys(fields: Any, wanted: Any) -> None:  # server 31
    query = f'{{ eventV2(id: "{EVENT}") {{ idempotencyKey name raw version }} }}'
    async with open_api([put_event(**fields)]) as api:
        event = (await data(api, query))["eventV2"]
        assert msgspec.json.decode(event["raw"]) == wanted
        assert event["idempotencyKey"] == fields.get("external_id")


@pytest.mark.parametrize(
    ("ends", "status", "pending"),
    [
        ([], "RUNNING", 2),
        ([ended(1)], "RUNNING", 1),
        ([ended(1), ended(2)], "COMPLETED", 0),
        ([ended(1), ended(2, RunStatus.FAILED, ERROR)], "PARTIALLY_FAILED", 0),
        ([ended(1, RunStatus.FAILED, ERROR), ended(2, RunStatus.FAILED, ERROR)], "FAILED", 0),
    ],
)
@on_loop
async def test_an_event_tells_of_its_runs(ends: Any, status: str, pending: int) -> None:
    event = put_event(runs=(run_id(1), run_id(2)))
    query = f"""{{
      event(query: {{eventId: "{EVENT}"}}) {{
        status totalRuns pendingRuns payload functionRuns {{ id event {{ id }} }}
      }}
    }}"""
    async with open_api([*SHOP, event, put_run(1), put_run(2), *ends]) as api:
        assert (await data(api, query))["event"] == {
            "status": status,
            "totalRuns": 2,
            "pendingRuns": pending,
            "payload": '{"order":7}',
            "functionRuns": [{"id": text(run_id(n)), "event": {"id": EVENT}} for n in (1, 2)],
        }


@on_loop
async def test_what_steps_waited_for() -> None:
    found, child_event, child = event_id(3), event_id(4), run_id(2)
    until = "2026-09-21T14:14:20.000Z"

    def began(n: int, kind: HistoryKind, **told: Any) -> Write:
        payload = msgspec.json.encode(told or T0_MS + 60_000)
        return history(n, kind, step_id=f"{n:040x}", name=f"s{n}", payload=payload)

    rows = [
        *SHOP,
        put_event(),
        put_event(3, name="shop/paid", external_id="mine", data=b'{"n":1}'),
        put_event(5, name="inngest/function.finished", data=b"", source_run=child),
        put_run(),
        put_run(2),
        running(),
        began(0, HistoryKind.SLEEP_STARTED),
        began(1, HistoryKind.WAIT_STARTED, event="shop/paid", until=until),
        began(2, HistoryKind.SIGNAL_WAIT_STARTED, signal="go", until=until),
        began(
            3,
            HistoryKind.INVOKE_STARTED,
            event=text(child_event),
            function="shop-refund",
            run=text(child),
            until=until,
        ),
    ]
    query = f"""{{
      run(runID: "{RUN}") {{ trace {{ childrenSpans {{ stepOp stepInfo {{
        __typename
        ... on SleepStepInfo {{ sleepUntil }}
        ... on WaitForEventStepInfo {{ eventName expression timeout foundEventID timedOut }}
        ... on WaitForSignalStepInfo {{ signal timeout timedOut }}
        ... on InvokeStepInfo {{
          triggeringEventID functionID timeout returnEventID runID timedOut
        }}
      }} }} }} }}
    }}"""
    event = {"__typename": "WaitForEventStepInfo", "eventName": "shop/paid", "timeout": until}
    invoke = {
        "__typename": "InvokeStepInfo",
        "triggeringEventID": text(child_event),
        "functionID": "shop-refund",
        "timeout": until,
    }
    signal = {"__typename": "WaitForSignalStepInfo", "signal": "go", "timeout": until}

    async def infos(*more: Write) -> list[Any]:
        async with open_api([*rows, *more]) as api:
            spans = (await data(api, query))["run"]["trace"]["childrenSpans"]
            by_op = {span["stepOp"]: span["stepInfo"] for span in spans}
            return [by_op[op] for op in ("SLEEP", "WAIT_FOR_EVENT", "WAIT_FOR_SIGNAL", "INVOKE")]

    assert await infos() == [
        {"__typename": "SleepStepInfo", "sleepUntil": until},
        event | {"expression": None, "foundEventID": None, "timedOut": None},
        signal | {"timedOut": None},
        invoke | {"returnEventID": None, "runID": None, "timedOut": None},
    ]
    memo = b'{"name":"shop/paid","id":"mine","data":{"n":1}}'
    over = msgspec.structs.replace(ended(2), ended_at_ms=T0_MS, started_at_ms=T0_MS)
    came = msgspec.structs.replace(
        step(1, kind=StepKind.EVENT, data=memo), started_at_ms=T0_MS, ended_at_ms=T0_MS + 9
    )
    done: list[Write] = [over, came, step(3, kind=StepKind.INVOKE, data=b"7")]
    _sleep, wait, _signal, invoked = await infos(*done)
    assert wait == event | {"expression": None, "foundEventID": text(found), "timedOut": False}
    assert invoked == invoke | {
        "returnEventID": text(event_id(5)),
        "runID": text(child),
        "timedOut": False,
    }
    late = [
        step(1, kind=StepKind.EVENT, data=b"null"),
        step(2, kind=StepKind.SIGNAL_TIMEOUT, data=b"null"),
        step(3, kind=StepKind.FAILED, data=b'{"name":"InngestInvokeTimeoutError"}'),
    ]
    _sleep, wait, signalled, invoked = await infos(*late)
    assert (wait["timedOut"], wait["foundEventID"], signalled["timedOut"]) == (True, None, True)
    assert (invoked["timedOut"], invoked["runID"], invoked["returnEventID"]) == (True, None, None)


@on_loop
async def test_what_an_answer_costs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = f'run(runID: "{RUN}") {{ trace {{ childrenSpans {{ name }} }} }}'
    async with open_api(DONE) as api:
        assert await data(api, f"{{ {traced} }}")
        for name, limit, what in (("FIELDS_MAX", 4, "fields"), ("ROWS_MAX", 1, "rows")):
            with monkeypatch.context() as patch:
                patch.setattr(reading, name, limit)
                body = msgspec.json.encode({"query": f"{{ {traced} }}"})
                answer = (await api.post("/v0/gql", body)).json
                assert answer["errors"][0]["extensions"]["code"] == "limit_exceeded"
                assert f"more than {limit} {what}" in answer["errors"][0]["message"]
        with monkeypatch.context() as patch:
            patch.setattr(reading, "BYTES_MAX", 5)
            assert "more than 5 bytes" in (await error(api, f"{{ {traced} }}"))[1]


@on_loop
async def test_a_long_list_lets_others_work() -> None:
    many = [step(n, name=f"s{n}") for n in range(70)]
    rows = [*DONE[:-2], *many, ended()]
    query = f'{{ run(runID: "{RUN}") {{ trace {{ childrenSpans {{ name }} }} }} }}'
    async with open_api(rows) as api:
        spans = (await data(api, query))["run"]["trace"]["childrenSpans"]
        assert [span["name"] for span in spans[:-1]] == [f"s{n}" for n in range(70)]
