"""`Sleep`: a step that waits for a time."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.engine.rows import (
    HistoryKind,
    PutHistory,
    PutLive,
    PutStep,
    RunStatus,
    StepKind,
    UpdateRun,
)
from stepwell.wire.durations import format_iso_ms
from tests.unit.engine.scenario import START_MS, Scenario, op, ops, ran, returned, step_id

DAY_MS = 86_400_000


def a_call(**config: Any) -> Scenario:
    s = Scenario(**config)
    s.sync({})
    s.attach()
    s.send()
    return s


@pytest.mark.parametrize(
    ("fields", "ms"),
    [
        ({"name": "1h30m"}, 5_400_000),
        ({"opts": {"duration": "2s"}, "name": "ignored"}, 2_000),
        ({"opts": {"duration": None}, "name": "3s"}, 3_000),
        ({"opts": ["odd"], "name": "3s"}, 3_000),
        ({"name": format_iso_ms(START_MS + 4_321)}, 4_321),
        ({"name": "366d"}, 366 * DAY_MS),
    ],
)
def test_the_function_goes_on_when_the_time_has_come(fields: dict[str, Any], ms: int) -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", **fields)))
    assert s.rows(PutLive)[-1].wake_at_ms == START_MS + ms
    jump_to(s, START_MS + ms - 1)
    assert len(s.calls) == 1
    jump_to(s, START_MS + ms)
    (row,) = s.rows(PutStep)
    assert (row.kind, row.data, row.attempt) == (StepKind.SLEEP, b"null", 0)
    assert (row.started_at_ms, row.ended_at_ms) == (START_MS, START_MS + ms)
    assert (s.call.stack, s.call.attempt) == ((step_id("nap"),), 0)


def jump_to(s: Scenario, now_ms: int) -> None:
    s.now_ms = now_ms
    s.step()
    s.step()  # what was beyond the horizon came in the first


@pytest.mark.parametrize(
    "fields", [{"name": ""}, {"name": "0s"}, {"name": "-5s"}, {"name": "2001-01-01T00:00:00Z"}]
)
def test_a_time_in_the_past_is_now(fields: dict[str, Any]) -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", **fields)))
    assert s.call.stack == (step_id("nap"),)


def test_a_sleep_is_history_with_its_due_time() -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name="10s")))
    (row,) = s.rows(PutHistory)
    assert (row.kind, row.name) == (HistoryKind.SLEEP_STARTED, "nap")
    assert row.payload == b"%d" % (START_MS + 10_000)


@pytest.mark.parametrize(
    ("name", "error"),
    [("soon", "InngestErrInvalidSleep"), ("400d", "InngestErrTimeoutTooLong")],
)
def test_a_time_that_makes_no_sense_fails_the_run_at_once(name: str, error: str) -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name=name)))
    end = s.rows(UpdateRun)[-1]
    assert end.status is RunStatus.FAILED
    assert end.output is not None
    assert error.encode() in end.output
    assert b"nap" in end.output


def test_a_name_of_any_length_is_kept_short() -> None:
    s = a_call()
    s.reply(ops({"op": "Sleep", "id": "x", "name": "1h", "displayName": "n" * 100_000}))
    assert len(s.rows(PutLive)[-1].state) < 1_000
    s.send()
    s.reply(ops({"op": "Sleep", "id": "x", "name": "n" * 100_000}))
    (end,) = s.ends
    assert end.output is not None
    assert len(end.output) < 1_000


def test_a_sleep_beside_steps_is_one_of_them() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a"), op("Sleep", "nap", name="5s"), op("StepPlanned", "b")))
    s.reply(ran("a"), s.call_for("a"))
    s.reply(ran("b"), s.call_for("b"))
    s.pass_ms(4_999)
    assert len(s.calls) == 3
    s.pass_ms(1)
    assert s.call.stack == tuple(step_id(name) for name in ("a", "b", "nap"))
    assert not s.call.plan_only


def test_a_sleep_that_ends_first_waits_for_its_siblings() -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name="5s"), op("StepPlanned", "a")))
    s.pass_ms(5_000)
    assert len(s.calls) == 2
    s.reply(ran("a"))
    assert s.call.stack == (step_id("nap"), step_id("a"))


def test_several_sleeps_end_in_their_order_with_one_further_call() -> None:
    s = a_call()
    s.reply(ops(*[op("Sleep", f"nap{n}", name=f"{n}s") for n in (3, 1, 2)]))
    s.pass_ms(3_000)
    assert [row.name for row in s.rows(PutStep)] == ["nap1", "nap2", "nap3"]
    assert len(s.calls) == 2


def test_a_sleep_that_is_reported_twice_keeps_its_time() -> None:
    s = a_call()
    s.reply(
        ops(
            op("Sleep", "nap", name="5s", opts={"parallelMode": "race"}),
            op("Sleep", "other", name="1s", opts={"parallelMode": "race"}),
        )
    )
    s.pass_ms(1_000)
    s.reply(ops(op("Sleep", "nap", name="5s")))
    s.pass_ms(3_999)
    assert len(s.calls) == 2
    s.pass_ms(1)
    assert len(s.calls) == 3


def test_a_sleep_that_ends_while_a_call_is_out_is_followed_up() -> None:
    s = a_call()
    race = {"parallelMode": "race"}
    s.reply(
        ops(op("Sleep", "nap", name="5s", opts=race), op("Sleep", "nap2", name="6s", opts=race))
    )
    s.pass_ms(5_000)
    out = s.call
    s.pass_ms(1_000)
    assert s.call is out
    s.reply(ops(), out)
    assert s.call.stack == (step_id("nap"), step_id("nap2"))


def test_a_sibling_that_the_function_forgot_does_not_keep_it_from_waking() -> None:
    """Code that changes between calls may never meet again what it once reported."""
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name="5s"), op("StepError", "forgotten", error={})))
    s.pass_ms(1_000)
    s.reply(ops(), s.call_for("forgotten"))
    s.reply(ops())
    s.pass_ms(4_000)
    assert s.call.stack == (step_id("nap"),)
    assert not s.call.plan_only


def test_many_sleeps_in_a_row_are_progress() -> None:
    s = a_call()
    for number in range(150):
        s.reply(ops(op("Sleep", f"nap{number}", name="1s")))
        s.pass_ms(1_000)
    assert not s.ends
    assert len(s.call.stack) == 150


def test_a_sleep_beyond_the_horizon_needs_no_memory() -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name="1h")))
    assert s.partition.runs == {}
    s.pass_ms(3_600_000)
    assert s.call.stack == (step_id("nap"),)


def test_a_sleep_survives_a_restart() -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name="10m")))
    s.restart()
    s.attach("c2")
    s.pass_ms(599_999)
    assert len(s.calls) == 1
    s.pass_ms(1)
    s.reply(returned())
    assert s.rows(UpdateRun)[-1].status is RunStatus.COMPLETED


def test_a_sleep_that_ended_during_an_outage_ends_at_the_start() -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name="10m")))
    s.now_ms += 3_600_000
    s.restart()
    s.attach("c2")
    assert s.call.stack == (step_id("nap"),)
    assert s.rows(PutStep)[-1].ended_at_ms == s.now_ms
