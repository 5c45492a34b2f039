"""`GET /v2/runs` and below, under both prefixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.engine.rows import HistoryKind, PutLive, RunStatus
from stepwell.engine.state import RunState, Sleep
from stepwell.wire.ids import function_uuid
from tests.unit.server.api.bench import Api, open_api
from tests.unit.server.api.rows import (
    APP,
    SHOP,
    T0_MS,
    ended,
    event_id,
    history,
    put_event,
    put_function,
    put_run,
    run_id,
    running,
    step,
    text,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from stepwell.engine.rows import Write

MANY: list[Write] = [
    *SHOP,
    put_event(runs=tuple(run_id(n) for n in range(1, 46))),
    *[put_run(n, function_no=1 + n % 2) for n in range(1, 46)],
    running(1),
    ended(2),
    ended(3, RunStatus.FAILED, b'{"message":"m"}'),
]
NEWEST = [text(run_id(n)) for n in range(45, 0, -1)]


async def ids(api: Api, query: str = "", path: str = "/v2/runs") -> list[str]:
    answer = await api.get(f"{path}?{query}")
    assert answer.status == 200, answer.body
    return [run["id"] for run in answer.json.get("data", [])]


@on_loop
async def test_a_run_is_shown_whole_under_both_prefixes() -> None:
    async with open_api([*SHOP, put_event(), put_run(), ended()]) as api:
        path = f"/v2/runs/{text(run_id(1))}"
        shown = (await api.get(path)).json
        assert shown["data"] == {
            "id": text(run_id(1)),
            "status": "COMPLETED",
            "queuedAt": "2026-09-21T14:13:20.006Z",
            "startedAt": "2026-09-21T14:13:20.100Z",
            "endedAt": "2026-09-21T14:13:21.100Z",
            "durationMs": "1000",
            "trigger": {"eventIds": [text(event_id(1))], "eventName": "shop/order.paid"},
            "function": {
                "id": function_uuid("shop", "shop-ship"),
                "name": "shop-ship",
                "slug": "ship",
            },
            "app": {"id": "shop"},
        }
        assert shown["metadata"]["cachedUntil"] is None
        assert (await api.get(f"/api{path}")).json["data"] == shown["data"]


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b'{"ok":true}', {"ok": True}),
        (b' {"ok":true}', {"ok": True}),
        (b"[1]", {"data": [1]}),
        (b"null", {"data": None}),
        (b'"text"', {"data": "text"}),
    ],
)
def test_output_is_shown_on_request_and_always_an_object(output: bytes, shown: Any) -> None:
    @on_loop
    async def check() -> None:
        async with open_api([*SHOP, put_event(), put_run(), ended(output=output)]) as api:
            path = f"/v2/runs/{text(run_id(1))}"
            assert "output" not in (await api.get(path)).json["data"]
            assert (await api.get(f"{path}?includeOutput=true")).json["data"]["output"] == shown

    check()


@on_loop
async def test_runs_are_listed_newest_first_in_pages() -> None:
    async with open_api(MANY) as api:
        first = (await api.get("/v2/runs")).json
        assert [run["id"] for run in first["data"]] == NEWEST[:20]
        assert first["page"] == {"limit": 20, "hasMore": True, "cursor": NEWEST[19]}
        assert await ids(api, f"cursor={NEWEST[19]}") == NEWEST[20:40]
        last = (await api.get(f"/v2/runs?limit=100&cursor={NEWEST[39]}")).json
        assert [run["id"] for run in last["data"]] == NEWEST[40:]
        assert last["page"] == {"limit": 100}
        oldest = NEWEST[::-1]
        assert await ids(api, "order=asc&limit=3") == oldest[:3]
        assert await ids(api, f"order=ASC&limit=3&cursor={oldest[2]}") == oldest[3:6]


@on_loop
async def test_an_empty_page_has_no_data() -> None:
    async with open_api() as api:
        answer = (await api.get("/v2/runs")).json
        assert set(answer) == {"metadata", "page"}
        assert answer["page"] == {"limit": 20}


@on_loop
async def test_runs_are_filtered() -> None:
    async with open_api(MANY) as api:
        assert await ids(api, "status=RUNNING") == [text(run_id(1))]
        assert await ids(api, "status=COMPLETED&status=failed") == [
            text(run_id(3)),
            text(run_id(2)),
        ]
        assert await ids(api, "appId=shop&functionId=ship&limit=2") == NEWEST[1:5:2]
        assert await ids(api, "appId=shop&functionId=shop-refund&limit=2") == NEWEST[:4:2]
        assert await ids(api, "appId=shop&limit=2") == NEWEST[:2]
        assert await ids(api, "appId=nobody") == []
        assert await ids(api, "appId=shop&functionId=nobody") == []
        # Run n was queued at T0 + 5 + n ms.
        assert await ids(api, f"from={T0_MS + 48}") == NEWEST[:3]
        assert await ids(api, f"until={T0_MS + 8}") == [text(run_id(2)), text(run_id(1))]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("status=GONE", 400, "invalid_field_format"),
        ("order=up", 400, "invalid_field_format"),
        ("cursor=nope", 400, "invalid_field_format"),
        ("from=soon", 400, "invalid_field_format"),
        ("until=soon", 400, "invalid_field_format"),
        ("includeOutput=maybe", 400, "invalid_field_format"),
        ("functionId=ship", 400, "invalid_request"),
        ("timeField=endedAt", 501, "not_implemented"),
        ("isDeferred=true", 501, "not_implemented"),
    ],
)
def test_what_cannot_be_read_or_done_is_refused(query: str, status: int, code: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.get(f"/v2/runs?{query}")
            assert answer.status == status
            (error,) = answer.json["errors"]
            assert error["code"] == code
            assert error["message"]

    check()


@pytest.mark.parametrize("path", ["", "/trace"])
def test_an_unknown_run_is_a_404_and_no_run_a_400(path: str) -> None:  # server 25
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            unknown = await api.get(f"/v2/runs/01K7T09A4B0000000000000000{path}")
            assert unknown.status == 404
            assert unknown.json == {"errors": [{"code": "not_found", "message": "Run not found"}]}
            assert (await api.get(f"/v2/runs/nope{path}")).status == 400

    check()


ARCHIVED = put_function(3, "shop-old", archived_at_ms=T0_MS)


@on_loop
async def test_runs_of_archived_functions_are_found_and_marked() -> None:
    async with open_api(
        [*SHOP, ARCHIVED, put_event(), put_run(1), put_run(2, function_no=3)]
    ) as api:
        for query in ("appId=shop&functionId=old", "appId=shop&functionId=shop-old"):
            assert await ids(api, query) == [text(run_id(2))]
        assert await ids(api, "appId=shop") == [text(run_id(2)), text(run_id(1))]
        stuck, other = (await api.get("/v2/runs")).json["data"]
        assert stuck["function"]["isArchived"] is True
        assert "isArchived" not in other["function"]


@on_loop
async def test_a_run_says_what_it_waits_for_until_it_is_over() -> None:
    async with open_api([APP, put_function()]) as api:
        sent = await api.post("/e/x", b'{"name":"shop/order.paid"}')
        (listed,) = (await api.get("/v2/runs")).json["data"]
        assert listed["trigger"]["eventIds"] == sent.json["ids"]
        assert listed["waiting"] == {
            "reason": "no_worker",
            "text": "no connected worker has shop-ship",
        }
        one = (await api.get(f"/v2/runs/{listed['id']}")).json["data"]
        assert one["waiting"] == listed["waiting"]
    async with open_api([*SHOP, put_event(), put_run(), ended()]) as api:
        assert "waiting" not in (await api.get(f"/v2/runs/{text(run_id(1))}")).json["data"]


@on_loop
async def test_what_ends_by_itself_says_when() -> None:
    due_ms = 4_000_000_000_000  # later than any clock that this is run under
    sleeping = RunState(sleeps=[Sleep("s", "nap", T0_MS, due_ms)])
    row = PutLive(
        run_id=run_id(1),
        function_no=1,
        queued_score=None,
        wake_at_ms=due_ms,
        state=msgspec.msgpack.encode(sleeping),
    )
    async with open_api([*SHOP, put_event(), put_run(), running(), row]) as api:
        shown = (await api.get(f"/v2/runs/{text(run_id(1))}")).json["data"]
        assert shown["waiting"] == {
            "reason": "sleep",
            "until": "2096-10-02T07:06:40.000Z",
            "text": "it sleeps in nap",
        }


@on_loop
async def test_a_trace_is_a_tree_with_outputs_on_request() -> None:
    async with open_api([*SHOP, put_event(), put_run(), step(), ended()]) as api:
        path = f"/v2/runs/{text(run_id(1))}/trace"
        trace = (await api.get(path)).json["data"]
        assert trace["runId"] == text(run_id(1))
        root = trace["rootSpan"]
        assert (root["name"], root["status"], root["durationMs"]) == ("Run", "COMPLETED", "1000")
        charge, last = root["children"]
        assert charge == {
            "id": charge["id"],
            "name": "charge",
            "status": "COMPLETED",
            "stepOp": "RUN",
            "stepId": f"{0:040x}",
            "durationMs": "5",
            "startedAt": "2026-09-21T14:13:20.200Z",
            "endedAt": "2026-09-21T14:13:20.205Z",
        }
        assert last["name"] == "Finalization"
        root = (await api.get(f"{path}?includeOutput=1")).json["data"]["rootSpan"]
        assert root["output"] == {"ok": True}
        assert root["children"][0]["output"] == {"n": 1}


@pytest.mark.parametrize(
    ("kind", "payload", "info"),
    [
        (
            HistoryKind.WAIT_STARTED,
            {"event": "a", "if": "async.data.n == 1", "until": "2026-09-21T15:00:00.000Z"},
            {"kind": "event", "event": "a", "if": "async.data.n == 1",
             "until": "2026-09-21T15:00:00.000Z", "timedOut": True},
        ),
        (
            HistoryKind.SIGNAL_WAIT_STARTED,
            {"signal": "s", "until": "2026-09-21T15:00:00.000Z"},
            {"kind": "signal", "signal": "s", "until": "2026-09-21T15:00:00.000Z"},
        ),
        (
            HistoryKind.INVOKE_STARTED,
            {"function": "shop-price", "event": "01E", "run": "01R"},
            {"kind": "invoke", "function": "shop-price", "eventId": "01E", "runId": "01R"},
        ),
        (HistoryKind.FETCH_STARTED, {"url": "https://a"}, {"kind": "fetch"}),
        (HistoryKind.INFER_STARTED, {"url": "https://a"}, {"kind": "ai"}),
    ],
)  # fmt: skip
def test_a_trace_says_what_a_step_waits_for(
    kind: HistoryKind, payload: Any, info: dict[str, Any]
) -> None:
    @on_loop
    async def check() -> None:
        begun = history(0, kind, step_id=f"{0:040x}", name="charge",
                        payload=msgspec.json.encode(payload))  # fmt: skip
        over = step(data=b"null") if kind is HistoryKind.WAIT_STARTED else step()
        async with open_api([*SHOP, put_event(), put_run(), running(), begun, over]) as api:
            trace = (await api.get(f"/v2/runs/{text(run_id(1))}/trace")).json["data"]
            assert trace["rootSpan"]["children"][0]["stepInfo"] == info

    check()


@on_loop
async def test_the_runs_of_an_event_come_in_pages() -> None:
    async with open_api(MANY) as api:
        path = f"/v2/events/{text(event_id(1))}/runs"
        oldest = NEWEST[::-1]
        assert await ids(api, "", path) == oldest[:20]
        assert await ids(api, "limit=99", path) == oldest[:40]
        assert await ids(api, f"limit=99&cursor={oldest[39]}", path) == oldest[40:]
        assert (await api.get("/v2/events/01K7T09A4B0000000000000000/runs")).status == 404
        assert (await api.get("/v2/events/nope/runs")).status == 400
