"""Any number of runs on disk, a window of them in memory: none is lost, none comes twice."""

from __future__ import annotations

from collections import Counter

import pytest

from stepwell.engine.rows import PutRun, PutStep
from stepwell.server import loading
from tests.sim.invariants import check_runs
from tests.unit.engine.scenario import Scenario, op, ops, ran, returned

PAGE_RUNS = 3


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PAGE_RUNS", PAGE_RUNS)


def a_shop(**config: int) -> Scenario:
    s = Scenario(**config)
    s.sync({"fn": "ship"}, {"fn": "bill", "triggers": [{"event": "bill/due"}]})
    return s


def check(s: Scenario) -> None:
    """Every live run is in memory or a window will bring it."""
    check_runs(s.partition, s.store.load_runs(sorted(s.committed.live)))


def settle(s: Scenario) -> None:
    """Have turns until no queue asks for more."""
    while s.partition.wanted_queues():
        s.step()


# --- queues ---


def test_memory_holds_a_window_of_new_runs() -> None:
    s = a_shop(queue_window=4)
    for _ in range(20):
        s.send()
    assert len(s.partition.runs) == 4
    assert s.reader.count_live() == 20
    check(s)


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_runs_beyond_the_window_come_in_order_and_once(limit: int) -> None:
    s = a_shop(queue_window=4)
    for _ in range(30):
        s.send()
    s.attach(limit=limit)
    while s.reader.count_live():
        settle(s)
        out = [call for call in s.calls if s.partition.leases.get(call.request_id)]
        s.reply(returned(), out[0])
        check(s)
        assert len(s.partition.runs) <= 4 + PAGE_RUNS + limit
    assert [call.run_id for call in s.calls] == [row.run_id for row in s.rows(PutRun)]


def test_a_full_queue_of_one_function_does_not_touch_others() -> None:
    s = a_shop(queue_window=2)
    for _ in range(6):
        s.send("order/paid")
    s.send("bill/due")
    s.attach("c1", "shop-bill")
    assert [call.function_no for call in s.calls] == [2]


def test_runs_that_come_while_others_are_on_disk_do_not_overtake_them() -> None:
    s = a_shop(queue_window=2)
    for _ in range(5):
        s.send()
    s.attach(limit=1)
    while s.reader.count_live():
        settle(s)
        s.reply(returned())
        if len(s.calls) < 8:
            s.send()
    assert [call.run_id for call in s.calls] == [row.run_id for row in s.rows(PutRun)]
    assert len(s.calls) > 8


def test_a_run_that_began_goes_on_before_later_ones_begin() -> None:
    s = a_shop(queue_window=2)
    s.attach(limit=1)
    for _ in range(6):
        s.send()
    first = s.call.run_id
    s.reply(ran("a"))
    s.reply(ran("b"))
    assert {call.run_id for call in s.calls} == {first}


def test_many_late_jobs_are_let_go_and_come_back() -> None:
    s = a_shop(queue_window=2)
    s.attach()
    for _ in range(10):
        s.send()
        s.reply(ops(op("Sleep", "nap", name="1s")))
    s.detach()
    s.pass_ms(1_000)
    assert len(s.partition.runs) == 2, "all ten are queued, two of them in memory"
    check(s)
    s.attach("c2", limit=1)
    while s.reader.count_live():
        settle(s)
        s.reply(returned())
        check(s)
    later = Counter(call.run_id for call in s.calls[10:])
    assert set(later.values()) == {1}
    assert len(later) == 10


def test_a_run_that_also_sleeps_is_let_go_and_wakes_from_disk() -> None:
    s = a_shop(queue_window=1)
    s.attach()
    for _ in range(6):
        s.send()
        s.reply(ops(op("Sleep", "nap", name="1h"), op("StepPlanned", "a")))
    s.detach()  # the planned steps wait for a worker
    assert len(s.partition.runs) < 6
    check(s)
    s.pass_ms(3_600_000)
    check(s)
    assert len(s.rows(PutStep)) == 6, "all slept to the end"
    s.attach("c2", limit=1)
    while s.reader.count_live():
        settle(s)
        s.reply(ran("a") if s.call.step_id != "step" else returned())
        check(s)
    assert len(s.ends) == 6


def test_a_restart_fills_the_window_from_the_front() -> None:
    s = a_shop(queue_window=4)
    for _ in range(12):
        s.send()
    s.restart()
    settle(s)
    assert len(s.partition.runs) <= 4 + PAGE_RUNS
    s.attach(limit=1)
    while s.reader.count_live():
        settle(s)
        s.reply(returned())
    assert [call.run_id for call in s.calls] == [row.run_id for row in s.rows(PutRun)]


def test_lifecycle_events_start_runs_beyond_the_window_too() -> None:
    s = Scenario(queue_window=1)
    audit = {"fn": "audit", "triggers": [{"event": "inngest/function.finished"}]}
    s.sync({"fn": "ship"}, audit)
    s.attach("c1", "shop-ship")
    for _ in range(4):
        s.send()
        s.reply(returned())
    check(s)
    s.attach("c2", "shop-audit", limit=1)
    while s.reader.count_live():
        settle(s)
        s.reply(returned())
    assert len(s.ends) == 8


# --- times ---


def test_many_sleeps_draw_the_horizon_nearer_and_all_wake() -> None:
    s = a_shop(timer_window=4)
    s.attach()
    for seconds in range(20, 0, -1):
        s.send()
        s.reply(ops(op("Sleep", "nap", name=f"{seconds}s")))
        check(s)
    assert len(s.partition.runs) <= 4
    begun = s.now_ms
    s.pass_ms(20_000)
    check(s)
    ends = [row.ended_at_ms - begun for row in s.rows(PutStep)]
    assert ends == [seconds * 1_000 for seconds in range(1, 21)], "each at its time, in order"


def test_sleeps_of_one_millisecond_are_not_parted() -> None:
    s = a_shop(timer_window=2)
    s.attach()
    for _ in range(9):
        s.send()
        s.reply(ops(op("Sleep", "nap", name="10s")))
    check(s)
    s.pass_ms(10_000)
    assert len(s.rows(PutStep)) == 9


def test_sleeps_on_both_sides_of_the_horizon_wake_in_order() -> None:
    s = a_shop()
    s.attach()
    for name in ("6m", "4m", "20m", "5m"):
        s.send()
        s.reply(ops(op("Sleep", name, name=name)))
    assert len(s.partition.runs) == 2, "five minutes lie before the horizon"
    s.pass_ms(20 * 60_000)
    assert [row.name for row in s.rows(PutStep)] == ["4m", "5m", "6m", "20m"]


def test_retries_beyond_the_horizon_come_back_with_their_attempt() -> None:
    s = a_shop(retry_interval_ms=3_600_000)
    s.attach()
    s.send()
    s.reply(ops(op("StepError", "a", error={})))
    assert s.partition.runs == {}
    s.pass_ms(3_600_000)
    assert s.call.attempt == 1


def test_a_busy_run_keeps_its_later_times() -> None:
    s = a_shop(lease_ms=10_000_000)
    s.attach()
    s.send()
    s.reply(ops(op("Sleep", "nap", name="1h"), op("StepPlanned", "a")))
    s.pass_ms(3_600_000)
    assert [row.name for row in s.rows(PutStep)] == ["nap"]


def test_a_year_of_sleep_ends_in_its_minute() -> None:
    s = a_shop()
    s.attach()
    s.send()
    s.reply(ops(op("Sleep", "nap", name="365d")))
    due_ms = s.now_ms + 365 * 86_400_000
    s.now_ms = due_ms - 1
    s.step()
    assert len(s.calls) == 1
    s.pass_ms(1)
    assert len(s.calls) == 2


def test_runs_that_were_due_long_ago_all_come_after_a_jump() -> None:
    s = a_shop()
    s.attach()
    for hours in range(1, 40):
        s.send()
        s.reply(ops(op("Sleep", "nap", name=f"{hours}h")))
    s.now_ms += 100 * 3_600_000
    turns = 0
    while len(s.rows(PutStep)) < 39:
        s.step()
        check(s)
        turns += 1
        assert turns < 40
    assert [call.run_id for call in s.calls[39:]] == [call.run_id for call in s.calls[:39]]
