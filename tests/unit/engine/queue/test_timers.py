"""Times that runs wait for, and the horizon behind which only the store knows them."""

from __future__ import annotations

import pytest

from stepwell.engine.queue.timers import Timers
from stepwell.engine.state import Job, Phase, Run, Sleep
from tests.unit.engine.test_state import a_run, sleep, waiting


@pytest.fixture
def timers() -> Timers:
    timers = Timers(window=4)
    timers.move(100, ())
    return timers


def sleeping(timers: Timers, *due_ms: int) -> Run:
    run = a_run(*(sleep(each) for each in due_ms))
    for each in run.state.sleeps:
        timers.push(run, each)
    return run


def due(timers: Timers, now_ms: int) -> list[int]:
    found = []
    while (item := timers.pop_due(now_ms)) is not None:
        run, wait = item
        found.append(wait.due_ms)
        if isinstance(wait, Job):
            wait.phase = Phase.QUEUED
        else:
            assert isinstance(wait, Sleep)
            run.state.sleeps.remove(wait)
    return found


def test_times_come_in_order_and_not_before_they_are_due(timers: Timers) -> None:
    sleeping(timers, 30, 10, 20)
    assert timers.next_ms() == 10
    assert due(timers, 9) == []
    assert due(timers, 20) == [10, 20]
    assert due(timers, 1_000) == [30]
    assert timers.next_ms() == 100


def test_equal_times_come_in_the_order_in_which_they_were_set(timers: Timers) -> None:
    first, second = sleeping(timers, 10), sleeping(timers, 10)
    one, two = timers.pop_due(10), timers.pop_due(10)
    assert one is not None
    assert two is not None
    assert one[0] is first
    assert two[0] is second


def test_a_time_on_the_horizon_is_held_one_behind_it_is_not(timers: Timers) -> None:
    sleeping(timers, 100)
    sleeping(timers, 101)
    assert due(timers, 1_000) == [100]


def test_a_withdrawn_sleep_does_not_come(timers: Timers) -> None:
    run = sleeping(timers, 10, 20)
    del run.state.sleeps[0]
    assert due(timers, 50) == [20]


def test_a_withdrawn_retry_does_not_come(timers: Timers) -> None:
    job = waiting(10)
    run = a_run(job)
    timers.push(run, job)
    job.phase = Phase.OVER
    assert due(timers, 50) == []


def test_a_retry_that_was_set_again_comes_at_its_new_time_only(timers: Timers) -> None:
    job = waiting(10)
    run = a_run(job)
    timers.push(run, job)
    job.due_ms = 40
    timers.push(run, job)
    assert due(timers, 39) == []
    assert due(timers, 40) == [40]


def test_moving_the_horizon_brings_the_later_times_of_runs_in_memory(timers: Timers) -> None:
    busy = a_run(Job(no=0), waiting(150, 1), sleep(200), sleep(201), sleep(50))
    timers.push(busy, busy.state.sleeps[2])
    timers.move(200, [busy])
    assert due(timers, 1_000) == [50, 150, 200]


def test_moving_on_sets_no_time_twice(timers: Timers) -> None:
    run = sleeping(timers, 100, 150)
    timers.move(150, [run])
    timers.move(300, [run])
    assert len(timers._heap) == 2


def test_drawing_nearer_halves_what_is_held(timers: Timers) -> None:
    sleeping(timers, 10, 20, 30, 40)
    assert not timers.overfull
    run = sleeping(timers, 50)
    assert timers.overfull
    assert timers.draw_nearer() == 30
    assert not timers.overfull
    assert timers.next_ms() == 10
    assert due(timers, 1_000) == [10, 20, 30]
    timers.move(100, [run])
    assert due(timers, 1_000) == [50]


def test_the_order_in_which_times_were_set_does_not_matter_for_the_horizon(timers: Timers) -> None:
    sleeping(timers, 10, 60, 20, 70, 65, 30)
    assert timers.draw_nearer() == 30
    assert due(timers, 1_000) == [10, 20, 30]


def test_withdrawn_times_are_let_go_before_the_horizon_moves(timers: Timers) -> None:
    run = sleeping(timers, 10, 20, 30, 40, 50)
    run.state.sleeps = run.state.sleeps[3:]
    assert timers.draw_nearer() == 100
    assert due(timers, 1_000) == [40, 50]


def test_drawing_nearer_parts_no_millisecond(timers: Timers) -> None:
    sleeping(timers, *[10] * 7, 20, 30)
    assert timers.draw_nearer() == 10
    assert due(timers, 10) == [10] * 7


def test_what_cannot_be_parted_is_not_tried_in_every_turn(timers: Timers) -> None:
    sleeping(timers, *[10] * 7)
    timers.draw_nearer()
    assert not timers.overfull
    sleeping(timers, *[10] * 7)
    assert not timers.overfull
    sleeping(timers, 10)
    assert timers.overfull, "it is twice as much now"
    timers.draw_nearer()
    timers.move(200, ())
    assert timers.overfull, "a new horizon begins anew"
