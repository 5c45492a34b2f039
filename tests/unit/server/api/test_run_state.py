"""What SDKs fetch when a call says `use_api`."""

from __future__ import annotations

import pytest

from stepwell.engine.rows import StepKind
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
    step,
    text,
)
from tests.unit.server.loop import on_loop

LIVE = (
    *SHOP,
    put_event(runs=(run_id(1),), external_id="order-7", user=b'{"id":"u"}', v="1"),
    put_run(),
    running(),
    step(0),
    step(1, kind=StepKind.FAILED, data=b'{"name":"E","message":"m"}'),
    step(2, kind=StepKind.SLEEP, data=b""),
)
RUN = text(run_id(1))


@on_loop
async def test_the_steps_of_a_live_run_are_as_calls_carry_them() -> None:  # server 19
    async with open_api(LIVE) as api:
        answer = await api.get(f"/v0/runs/{RUN}/actions")
        assert answer.status == 200
        assert answer.json == {
            f"{0:040x}": {"data": {"n": 1}},
            f"{1:040x}": {"error": {"name": "E", "message": "m"}},
            f"{2:040x}": None,
        }


@on_loop
async def test_the_events_of_a_live_run_are_whole() -> None:
    async with open_api(LIVE) as api:
        answer = await api.get(f"/v0/runs/{RUN}/batch")
        assert answer.json == [
            {
                "data": {"order": 7},
                "id": "order-7",
                "name": "shop/order.paid",
                "ts": T0_MS,
                "user": {"id": "u"},
                "v": "1",
            }
        ]


@on_loop
async def test_a_run_without_steps_has_an_empty_object() -> None:
    async with open_api((*SHOP, put_event(), put_run())) as api:
        assert (await api.get(f"/v0/runs/{RUN}/actions")).json == {}
        (event,) = (await api.get(f"/v0/runs/{RUN}/batch")).json
        assert event["id"] == text(event_id(1))


@pytest.mark.parametrize("what", ["actions", "batch"])
def test_a_run_that_is_over_or_never_was_is_gone(what: str) -> None:  # server 19
    @on_loop
    async def check() -> None:
        async with open_api((*LIVE, ended())) as api:
            for run in (RUN, text(run_id(2))):
                answer = await api.get(f"/v0/runs/{run}/{what}")
                assert (answer.status, answer.json["status"]) == (410, 410)
                assert answer.json["error"] == (
                    f"runtime state is no longer available for runID: {run}"
                )
            assert (await api.get(f"/v0/runs/nope/{what}")).status == 400

    check()
