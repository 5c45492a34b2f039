"""Times that an SDK tells, on the server's clock."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.timings import step_times
from stepwell.wire.ops import Op, parse_ops
from tests.unit.engine.scenario import op, step_id

MS = 1_000_000
THERE = 1_700_000_000_000 * MS
NOW_MS = 5_000_000


def timed(name: str, a: Any, b: Any = 0) -> dict[str, Any]:
    return {**op("StepRun", name, data=1), "timing": {"a": a, "b": b}}


def times(*ops: dict[str, Any], since_ms: int = 0) -> dict[str, tuple[int, int]]:
    parsed: tuple[Op, ...] = parse_ops(json.dumps(ops).encode())
    return step_times(parsed, since_ms=since_ms, now_ms=NOW_MS)


def test_the_last_step_ends_now_and_the_others_lie_before_it() -> None:
    told = times(timed("a", THERE, 30 * MS), timed("b", THERE + 100 * MS, 200 * MS))
    assert told == {
        step_id("a"): (NOW_MS - 300, NOW_MS - 270),
        step_id("b"): (NOW_MS - 200, NOW_MS),
    }


def test_their_order_in_the_report_does_not_matter() -> None:
    first, second = timed("a", THERE, 30 * MS), timed("b", THERE + 100 * MS, 200 * MS)
    assert times(first, second) == times(second, first)


def test_none_begins_before_the_call_or_its_last_report() -> None:
    told = times(timed("a", THERE, 30_000 * MS), since_ms=NOW_MS - 10)
    assert told == {step_id("a"): (NOW_MS - 10, NOW_MS)}


def test_a_clock_that_went_back_gives_no_step_that_ends_before_it_begins() -> None:
    told = times(timed("a", THERE, 5 * MS), timed("b", THERE - 10**15, 5 * MS), since_ms=NOW_MS - 9)
    assert told[step_id("b")] == (NOW_MS - 9, NOW_MS - 9)


@pytest.mark.parametrize(
    ("a", "b"),
    [("1", 1), (None, 1), (-1, 1), (1, -1), (2**63, 1), (1, 2**70), (1e300, 1), ([], {})],
)
def test_what_is_no_time_is_skipped(a: Any, b: Any) -> None:
    assert times(timed("a", a, b)) == {}


def test_a_float_is_one_too() -> None:
    assert times(timed("a", 1.7e18, 2.5e6)) == {step_id("a"): (NOW_MS - 2, NOW_MS)}


def test_steps_without_times_are_left_out() -> None:
    assert times(op("StepRun", "a", data=1)) == {}
    assert list(times(op("StepRun", "a", data=1), timed("b", THERE))) == [step_id("b")]
