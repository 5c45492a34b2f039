"""Why a run does not go on just now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.rows import PutLive
from tests.unit.engine.scenario import Scenario, op, ops, raised, ran

if TYPE_CHECKING:
    from stepwell.engine.waiting import Waiting


def waiting(s: Scenario) -> Waiting | None:
    row = s.rows(PutLive)[-1]
    return s.partition.waiting(row.function_no, row.state)


def reason(s: Scenario) -> tuple[str, int | None] | None:
    found = waiting(s)
    return None if found is None else (found.reason, found.until_ms)


def started(**config: int) -> Scenario:
    s = Scenario(**config)
    s.sync({})
    s.attach(limit=1)
    s.send()
    return s


def test_a_run_that_a_worker_is_at_waits_for_nothing() -> None:
    assert reason(started()) is None


def test_a_run_without_a_worker_says_which_function_is_not_served() -> None:
    s = Scenario()
    s.sync({})
    s.send()
    found = waiting(s)
    assert found is not None
    assert (found.reason, found.until_ms) == ("no_worker", None)
    assert "shop-ship" in found.text


def test_a_run_behind_a_full_worker_waits_for_room() -> None:
    s = started()
    s.send()
    assert reason(s) == ("no_capacity", None)


def test_a_run_between_attempts_says_when_it_goes_on() -> None:
    s = started()
    s.reply(raised())
    assert reason(s) == ("retry", s.now_ms + 1_000)


def test_a_sleeping_run_says_until_when_and_in_which_step() -> None:
    s = started()
    s.reply(ops(op("Sleep", "nap", name="1h")))
    found = waiting(s)
    assert found is not None
    assert (found.reason, found.until_ms) == ("sleep", s.now_ms + 3_600_000)
    assert "nap" in found.text


def test_a_run_whose_worker_is_away_says_how_long_it_is_kept() -> None:
    s = started(reconnect_grace_ms=15_000)
    s.reply(ran("a"))
    s.partition.ack(s.call.request_id)
    s.gone()
    assert reason(s) == ("worker_lost", s.now_ms + 15_000)


def test_a_run_with_a_call_out_and_a_sleep_is_at_work() -> None:
    s = started()
    s.reply(ops(op("StepPlanned", "b"), op("Sleep", "nap", name="1h")))
    assert reason(s) is None
