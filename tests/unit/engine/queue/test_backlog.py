"""Queued jobs in order, and the window of them that memory holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.engine.queue.backlog import Backlog
from stepwell.engine.rows import RunStatus
from stepwell.engine.state import Job, Phase, Run, RunState
from stepwell.wire.ids import EventId, RunId, ulid_bytes
from tests.unit.engine.test_state import leased, sleep

if TYPE_CHECKING:
    from stepwell.engine.queue.backlog import Place

HORIZON_MS = 50


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(window=4)


def run_at(ms: int, *, no: int = 1, entropy: bytes = b"0123456789") -> Run:
    return Run(
        run_id=RunId(ulid_bytes(ms, entropy)),
        function_no=no,
        event_id=EventId(b"e" * 16),
        status=RunStatus.SCHEDULED,
        started_at_ms=None,
        state=RunState(),
        stored=True,
    )


def queue(backlog: Backlog, run: Run) -> Job:
    job = Job(no=len(run.state.jobs))
    run.state.jobs.append(job)
    backlog.push(run, job)
    return job


def queued(backlog: Backlog, *times: int) -> list[Run]:
    runs = [run_at(ms) for ms in times]
    for run in runs:
        queue(backlog, run)
    return runs


def drained(backlog: Backlog, no: int = 1) -> list[int]:
    found = []
    while backlog.head(no) is not None:
        run, job = backlog.pop(no)
        job.phase = Phase.LEASED
        found.append(run.queued_ms)
    return found


def place(run: Run) -> Place:
    return run.queued_ms, run.run_id


def test_jobs_come_by_the_time_at_which_their_run_was_queued(backlog: Backlog) -> None:
    queued(backlog, 30, 10, 20)
    assert drained(backlog) == [10, 20, 30]


def test_runs_of_one_millisecond_come_by_id_and_jobs_of_a_run_as_they_were_queued(
    backlog: Backlog,
) -> None:
    later, earlier = run_at(10, entropy=b"b" * 10), run_at(10, entropy=b"a" * 10)
    for run in (later, earlier):
        queue(backlog, run)
        queue(backlog, run)
    popped = []
    while backlog.head(1) is not None:
        run, job = backlog.pop(1)
        job.phase = Phase.LEASED
        popped.append((run.run_id, job.no))
    assert popped == [(earlier.run_id, 0), (earlier.run_id, 1), (later.run_id, 0),
                      (later.run_id, 1)]  # fmt: skip


def test_functions_have_queues_of_their_own(backlog: Backlog) -> None:
    queue(backlog, run_at(20, no=1))
    queue(backlog, run_at(10, no=2))
    served = dict.fromkeys((2, 1, 3)).keys()
    assert backlog.functions(served) == [1, 2]
    assert drained(backlog, 1) == [20]
    assert backlog.functions(served) == [2]


def test_a_function_without_jobs_is_forgotten(backlog: Backlog) -> None:
    queue(backlog, run_at(20, no=1))
    assert drained(backlog, 1) == [20]
    assert backlog.functions(dict.fromkeys((1,)).keys()) == []
    assert backlog.trim(0) == []
    assert backlog.wanted() == []


def test_a_withdrawn_job_does_not_come(backlog: Backlog) -> None:
    first, _second = queued(backlog, 10, 20)
    first.state.jobs[0].phase = Phase.OVER
    assert drained(backlog) == [20]


def test_new_runs_are_let_in_until_the_window_is_full(backlog: Backlog) -> None:
    admitted = []
    for ms in range(1, 8):
        run = run_at(ms)
        if backlog.admits(run):
            queue(backlog, run)
            admitted.append(ms)
    assert admitted == [1, 2, 3, 4]
    assert backlog.wanted() == [], "the window is still full"


def test_once_some_are_on_disk_later_ones_stay_there_too(backlog: Backlog) -> None:
    for ms in range(1, 6):
        if backlog.admits(run_at(ms)):
            queued(backlog, ms)
    drained(backlog)
    assert not backlog.admits(run_at(9)), "it would overtake those on disk"


def test_a_window_that_runs_low_asks_for_what_lies_behind_the_last(backlog: Backlog) -> None:
    runs = [run_at(ms) for ms in range(1, 6)]
    for run in runs:
        if backlog.admits(run):
            queue(backlog, run)
    for _ in range(2):
        backlog.head(1)
        backlog.pop(1)
    assert backlog.wanted() == [(1, place(runs[3]))]
    backlog.loaded(1, place(runs[4]), more=False)
    assert backlog.wanted() == []
    assert backlog.admits(run_at(9)), "nothing is on disk any more"


def test_a_page_that_is_not_the_last_leaves_the_queue_asking(backlog: Backlog) -> None:
    backlog.expect(1)
    assert backlog.wanted() == [(1, None)]
    run = run_at(5)
    backlog.loaded(1, place(run), more=True)
    assert backlog.wanted() == [(1, place(run))]
    backlog.loaded(1, None, more=False)
    assert backlog.wanted() == []


def test_a_run_that_sorts_before_the_last_place_is_not_passed_over(backlog: Backlog) -> None:
    last = run_at(5, entropy=b"m" * 10)
    backlog.loaded(1, place(last), more=True)
    early = run_at(5, entropy=b"a" * 10)
    assert not backlog.admits(early)
    ((_no, after),) = backlog.wanted()
    assert after is not None
    assert after < place(early)


def test_a_queue_is_trimmed_to_its_window_when_it_is_twice_that(backlog: Backlog) -> None:
    runs = queued(backlog, *range(1, 9))
    assert backlog.trim(HORIZON_MS) == []
    runs += queued(backlog, 9)
    assert backlog.trim(HORIZON_MS) == runs[4:]
    assert drained(backlog) == [1, 2, 3, 4]
    assert backlog.wanted() == [(1, place(runs[3]))]


def test_trimming_never_parts_the_jobs_of_a_run(backlog: Backlog) -> None:
    queued(backlog, 1, 2, 3)
    wide = run_at(4)
    for _ in range(6):
        queue(backlog, wide)
    late = queued(backlog, 5)
    assert backlog.trim(HORIZON_MS) == late
    assert drained(backlog) == [1, 2, 3, 4, 4, 4, 4, 4, 4]


def test_trimming_keeps_runs_that_memory_needs(backlog: Backlog) -> None:
    runs = queued(backlog, *range(1, 10))
    runs[6].state.jobs.append(leased(1))
    runs[7].state.sleeps.append(sleep(HORIZON_MS))
    runs[8].state.sleeps.append(sleep(HORIZON_MS + 1))
    dropped = backlog.trim(HORIZON_MS)
    assert [run.queued_ms for run in dropped] == [5, 6, 9]
    assert drained(backlog) == [1, 2, 3, 4, 7, 8]


def test_trimming_never_moves_the_last_place_on(backlog: Backlog) -> None:
    """What is on disk may lie before what memory holds for another reason."""
    loaded = run_at(2)
    backlog.loaded(1, place(loaded), more=True)  # runs 3 and later are on disk only
    queue(backlog, loaded)
    for ms in range(100, 108):
        run = run_at(ms)
        run.state.jobs.append(leased(1))
        queue(backlog, run)
    backlog.trim(HORIZON_MS)
    drained(backlog)
    assert backlog.wanted() == [(1, place(loaded))]


def test_trimming_before_anything_was_loaded_loses_nothing(backlog: Backlog) -> None:
    backlog.expect(1)
    queued(backlog, *range(100, 109))
    backlog.trim(HORIZON_MS)
    drained(backlog)
    assert backlog.wanted() == [(1, None)]


def test_trimming_forgets_withdrawn_jobs_first(backlog: Backlog) -> None:
    runs = queued(backlog, *range(1, 12))
    for run in runs[:8]:
        run.state.jobs[0].phase = Phase.OVER
    assert backlog.trim(HORIZON_MS) == []
    assert drained(backlog) == [9, 10, 11]
    assert backlog.admits(run_at(12)), "none is on disk only"


def test_a_queue_that_has_shrunk_is_trimmed_at_its_usual_size_again(backlog: Backlog) -> None:
    runs = queued(backlog, *range(1, 21))
    for run in runs:
        run.state.jobs.append(leased(1))
    backlog.trim(HORIZON_MS)
    drained(backlog)
    backlog.trim(HORIZON_MS)
    queued(backlog, *range(21, 30))
    assert len(backlog.trim(HORIZON_MS)) == 5


def test_what_must_stay_is_not_sorted_again_in_every_turn(backlog: Backlog) -> None:
    for run in queued(backlog, *range(1, 21)):
        run.state.jobs.append(leased(1))
    backlog.trim(HORIZON_MS)
    kept = backlog._functions[1].heap
    assert len(kept) == 20
    queued(backlog, *range(21, 41))
    backlog.trim(HORIZON_MS)
    assert backlog._functions[1].heap is kept
    queued(backlog, 41)
    assert len(backlog.trim(HORIZON_MS)) == 21


def pinned_at(ms: int, version: str) -> Run:
    run = run_at(ms)
    run.state.pin = version
    return run


def test_pinned_runs_stand_in_lines_of_their_own(backlog: Backlog) -> None:
    queued(backlog, 20)
    for run in (pinned_at(10, "v1"), pinned_at(5, "v2"), pinned_at(15, "v1")):
        queue(backlog, run)
    assert backlog.lines(1) == ("", "v1", "v2")
    assert backlog.head(1) == place(run_at(20))
    assert backlog.head(1, "v1") == place(run_at(10))
    run, job = backlog.pop(1, "v1")
    job.phase = Phase.LEASED
    assert run.queued_ms == 10
    assert backlog.head(1, "v1") == place(run_at(15))


def test_a_function_is_forgotten_with_its_last_line(backlog: Backlog) -> None:
    served = dict.fromkeys((1,)).keys()
    queued(backlog, 20)
    job = queue(backlog, pinned_at(10, "v1"))
    assert drained(backlog) == [20]
    assert backlog.functions(served) == [1]
    job.phase = Phase.OVER
    assert backlog.head(1, "v1") is None
    assert backlog.functions(served) == []
    assert backlog.lines(1) == ("",)


def test_the_window_counts_all_lines(backlog: Backlog) -> None:
    for ms in (1, 2, 3):
        queue(backlog, pinned_at(ms, f"v{ms}"))
    (last,) = queued(backlog, 4)
    assert not backlog.admits(run_at(9))
    for ms in (5, 6, 7, 8, 9):
        queue(backlog, pinned_at(ms, "v1"))
    dropped = backlog.trim(HORIZON_MS)
    assert [run.queued_ms for run in dropped] == [5, 6, 7, 8, 9]
    assert backlog.lines(1) == ("", "v1", "v2", "v3")
    assert backlog.wanted() == []
    assert drained(backlog) == [last.queued_ms]
    for version in ("v1", "v2"):
        backlog.pop(1, version)[1].phase = Phase.LEASED
        assert backlog.head(1, version) is None
    assert backlog.wanted() == [(1, None)]
