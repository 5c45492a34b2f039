"""`GET /v1/events` and below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stepwell.engine.rows import PutEvent, RunStatus
from stepwell.server.api.rest_v1.events import NIL_ID
from stepwell.wire.ids import EventId, ulid_bytes
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.rows import (
    SHOP,
    T0_MS,
    ended,
    event_id,
    put_event,
    put_run,
    run_id,
    running,
    text,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from stepwell.engine.rows import Write

ALL = "received_after=2020-01-01"


@on_loop
async def test_an_event_is_shown_whole() -> None:
    event = put_event(external_id="order-7", user=b'{"id":"u1"}', v="2")
    async with open_api([event]) as api:
        shown = (await api.get(f"/v1/events/{text(event_id(1))}")).json
        assert shown["data"] == {
            "internal_id": text(event_id(1)),
            "account_id": NIL_ID,
            "environment_id": NIL_ID,
            "source": "",
            "source_id": None,
            "received_at": "2026-09-21T14:13:20.000Z",
            "id": "order-7",
            "name": "shop/order.paid",
            "data": {"order": 7},
            "ts": T0_MS,
            "user": {"id": "u1"},
            "v": "2",
        }
        assert set(shown["metadata"]) == {"fetched_at"}


@on_loop
async def test_what_an_event_lacks_is_left_out() -> None:
    async with open_api([put_event(data=b"null", user=b"{}")]) as api:
        shown = (await api.get(f"/v1/events/{text(event_id(1))}")).json["data"]
        assert shown["id"] == text(event_id(1))
        assert shown["data"] is None
        assert "user" not in shown
        assert "v" not in shown


@on_loop
async def test_events_are_listed_newest_first_without_internal_ones() -> None:  # server 21
    events = [put_event(n, name=f"n{n % 2}") for n in range(1, 61)]
    internal = put_event(61, name="inngest/function.finished")
    async with open_api([*events, internal]) as api:

        async def names(query: str) -> list[Any]:
            return [
                one["internal_id"] for one in (await api.get(f"/v1/events?{query}")).json["data"]
            ]

        newest = [text(event_id(n)) for n in range(60, 0, -1)]
        assert await names(ALL) == newest[:20]
        assert await names(f"{ALL}&limit=200") == newest[:51]
        assert await names(f"{ALL}&limit=2&cursor={newest[1]}") == newest[2:4]
        assert await names(f"{ALL}&limit=2&name=n0") == newest[:4:2]
        assert await names(f"{ALL}&name=nobody") == []


@on_loop
async def test_without_a_time_the_last_hour_is_listed() -> None:
    async with open_api() as api:
        await api.post("/e/x", b'{"name":"now"}')
        old_ms = api.runtime.now_ms() - 3_700_000
        old = PutEvent(
            event_id=EventId(ulid_bytes(old_ms, bytes(10))), name="old", ts_ms=old_ms, data=b"{}"
        )
        api.store.commit([old])

        async def names(query: str) -> list[str]:
            return [one["name"] for one in (await api.get(f"/v1/events{query}")).json["data"]]

        assert await names("") == ["now"]
        assert await names(f"?received_after={old_ms - 1}") == ["now", "old"]
        assert await names(f"?received_after=0&received_before={old_ms + 1000}") == ["old"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/events/nope", 400),
        ("/v1/events/01K7T09A4B0000000000000000", 404),
        ("/v1/events/01K7T09A4B0000000000000000/runs", 404),
        ("/v1/events?cursor=nope", 400),
        ("/v1/events?received_after=soon", 400),
        ("/v1/events?received_before=soon", 400),
    ],
)
def test_errors_carry_their_real_status(path: str, status: int) -> None:  # server 43
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.get(path)
            assert (answer.status, answer.json["status"]) == (status, status)
            assert answer.json["error"]
            assert answer.json["data"] is None

    check()


@on_loop
async def test_the_runs_of_an_event_are_listed_with_their_output() -> None:  # server 22
    rows: list[Write] = [
        *SHOP,
        put_event(runs=(run_id(1), run_id(2))),
        put_run(1),
        put_run(2, function_no=2),
        ended(1),
        running(2),
    ]
    async with open_api(rows) as api:
        done, going = (await api.get(f"/v1/events/{text(event_id(1))}/runs")).json["data"]
        assert (done["status"], done["output"]) == ("Completed", {"ok": True})
        assert (going["status"], going["ended_at"]) == ("Running", None)
        assert "output" not in going


@on_loop
async def test_a_lifecycle_event_is_built_from_its_run() -> None:
    error = b'{"name":"CardError","message":"declined","stack":"s"}'
    finished = put_event(2, name="inngest/function.failed", data=b"", source_run=run_id(1))
    rows: list[Write] = [
        *SHOP,
        put_event(runs=(run_id(1),)),
        put_run(1),
        ended(1, RunStatus.FAILED, error),
        finished,
    ]
    async with open_api(rows) as api:
        shown = (await api.get(f"/v1/events/{text(event_id(2))}")).json["data"]["data"]
        assert shown["function_id"] == "shop-ship"
        assert shown["run_id"] == text(run_id(1))
        assert shown["_inngest"] == {"status": "Failed"}
        assert shown["error"]["message"] == "declined"
        assert shown["error"]["error"] == "invalid status code: 500"
        assert shown["event"]["data"] == {"order": 7}
