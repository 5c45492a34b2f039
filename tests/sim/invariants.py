"""What must hold after every commit, numbered; a failure names its number.

1. Every run that is not over has a live row, every live row has a job or a wait.
2. A step is committed once, while its run is not over, at the next position; history likewise.
3. A run begins and ends once, and nothing changes after its end.
4. Memory says what the rows say: a run built from rows is the one in memory.
5. A live run is in memory, or a window over the store will bring it: it is queued behind the
   last place of its function's queue, or waits beyond the horizon.
6. Leases, leased jobs and slots in use are the same, and no instance has more calls than it takes.
7. In memory every queued job stands in its queue once, every time up to the horizon is a timer.
   A run has at most one job for each step, and one that is aimed at none.
8. A call leaves only after the commit that holds it, with all steps that were finished then; it is
   aimed at a step that is not finished.
9. A report of a call that is not the current one changes nothing.

At the end:

10. No live row, no lease, no slot in use, nothing in memory; a rebuild is empty too.
11. What was acknowledged is there: each event once, one run for each function it starts, one run
    for a producer's id.
12. Every run came to what its program comes to, or failed because its worker was lost too often.
13. Each end has its lifecycle events, and each failure started its handler once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.rows import (
    DeleteLive,
    PutHistory,
    PutLive,
    PutRun,
    PutStep,
    RunStatus,
    UpdateRun,
)
from stepwell.engine.state import Job, Phase, Run
from stepwell.wire.ids import UNTARGETED_STEP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stepwell.engine.effects import Dispatch
    from stepwell.engine.partition import Partition
    from stepwell.engine.rows import RunImage, Write
    from stepwell.store.memory import MemoryReader, MemoryStore
    from stepwell.wire.ids import RunId


class Committed:
    """The rows of all commits, checked as they come."""

    def __init__(self) -> None:
        self.statuses: dict[RunId, RunStatus] = {}
        self.live: set[RunId] = set()
        self.steps: dict[RunId, list[str]] = {}
        self._history: Counter[RunId] = Counter()

    def take(self, writes: Iterable[Write]) -> list[RunId]:
        """Check one commit (1, 2, 3); returns the runs that it changed and that live."""
        changed: dict[RunId, None] = {}
        for row in writes:
            match row:
                case PutRun():
                    assert row.run_id not in self.statuses, "3: a run begins once"
                    self.statuses[row.run_id] = row.status
                case UpdateRun():
                    before = self.statuses[row.run_id]
                    assert not before.is_over, "3: a run ends once"
                    assert row.status >= before, "3: a run does not go back"
                    self.statuses[row.run_id] = row.status
                case PutStep():
                    finished = self.steps.setdefault(row.run_id, [])
                    assert row.step_id not in finished, "2: a step is committed once"
                    assert row.position == len(finished), "2: positions are contiguous"
                    assert self._goes_on(row.run_id), "2: a step of a run that goes on"
                    finished.append(row.step_id)
                case PutHistory():
                    assert row.seq == self._history[row.run_id], "2: history is contiguous"
                    self._history[row.run_id] += 1
                case PutLive():
                    has_reason = row.queued_score is not None or row.wake_at_ms is not None
                    assert has_reason, "1: a live run has a job or a wait"
                    self.live.add(row.run_id)
                    changed[row.run_id] = None
                case DeleteLive():
                    self.live.discard(row.run_id)
                    changed.pop(row.run_id, None)
                case _:
                    pass
        alive = {run_id for run_id, status in self.statuses.items() if not status.is_over}
        assert alive == self.live, "1: the runs that are not over are those with a live row"
        return list(changed)

    def _goes_on(self, run_id: RunId) -> bool:
        # A run that is new in this commit has its own row behind those of its steps.
        status = self.statuses.get(run_id)
        return status is None or not status.is_over


def check_runs(partition: Partition, images: Sequence[RunImage]) -> None:
    """4 and 5, for these live runs."""
    for image in images:
        run = partition.runs.get(image.run_id)
        if run is None:
            _check_reachable(partition, image)
        else:
            expected = _shown(Run.from_image(image))
            seen = _shown(run)
            assert seen == expected, f"4: memory says {seen}, the rows say {expected}"


def check_memory(partition: Partition) -> None:
    """6 and 7."""
    leased: set[bytes] = set()
    slots: Counter[str] = Counter()
    queued: Counter[int] = Counter()
    due: set[int] = set()
    for run in partition.runs.values():
        aims = [job.step_id for job in run.state.jobs]
        assert len(aims) == len(set(aims)), "7: a step has one job"
        for job in run.state.jobs:
            if job.phase is Phase.LEASED:
                assert job.request_id is not None, "6: a leased job has its fence"
                leased.add(job.request_id)
                slots[job.instance_id] += 1
                lease = partition.leases.get(job.request_id)
                assert lease is not None, "6: a leased job has a lease"
                assert lease.job is job, "6: the lease is this job's"
                continue
            assert job.request_id is None, "6: a fence is of a call that is out"
            assert not job.instance_id, "6: a slot is of a call that is out"
            if job.phase is Phase.QUEUED:
                queued[id(job)] += 1
            elif job.due_ms <= partition.timers.horizon_ms:
                due.add(id(job))
        due.update(
            id(sleep) for sleep in run.state.sleeps if sleep.due_ms <= partition.timers.horizon_ms
        )
    assert len(partition.leases) == len(leased), "6: a lease has a leased job"
    in_use = {
        name: instance.in_use
        for name, instance in partition.workers._instances.items()
        if instance.in_use
    }
    assert in_use == dict(slots), "6: slots in use are leased jobs"
    standing = Counter(
        id(job)
        for queue in partition.backlog._functions.values()
        for *_place, job in queue.heap
        if job.phase is Phase.QUEUED
    )
    assert standing == queued, "7: a queued job stands in its queue once"
    set_timers = {id(wait) for _due, _seq, _run, wait in partition.timers._heap}
    assert due <= set_timers, "7: a time up to the horizon is a timer"


def check_limits(partition: Partition) -> None:
    """6, where no worker changes its limit."""
    for instance in partition.workers._instances.values():
        if instance.connections:
            assert instance.in_use <= instance.limit, "6: an instance has no more than it takes"


def check_call(committed: Committed, store: MemoryStore, call: Dispatch) -> None:
    """8, as a call leaves."""
    (image,) = store.load_runs([call.run_id]) or (None,)
    assert image is not None, "8: a call's run is stored"
    fences = [job.request_id for job in Run.from_image(image).state.jobs]
    assert call.request_id in fences, "8: a call is stored before it leaves"
    finished = tuple(committed.steps.get(call.run_id, ()))
    assert call.stack == finished, "8: a call carries all finished steps"
    aimed = call.step_id != UNTARGETED_STEP
    assert not (aimed and call.step_id in finished), "8: a call is not aimed at a finished step"


def check_end(partition: Partition, rebuilt: Partition, reader: MemoryReader) -> None:
    """10."""
    assert reader.count_live() == 0, "10: no live row"
    for each in (partition, rebuilt):
        assert not each.runs, "10: no run in memory"
        assert len(each.leases) == 0, "10: no lease"
        assert not any(i.in_use for i in each.workers._instances.values()), "10: no slot"
        heads = [
            each.backlog.head(no) for no in each.backlog.functions(each.backlog._functions.keys())
        ]
        assert not any(heads), "10: nothing queued"


def _check_reachable(partition: Partition, image: RunImage) -> None:
    run = Run.from_image(image)
    assert all(job.phase is not Phase.LEASED for job in run.state.jobs), "5: calls are in memory"
    if image.queued_score is not None:
        queue = partition.backlog._functions.get(image.function_no)
        assert queue is not None, "5: the queue of an absent run is known"
        partly = image.function_no in partition.backlog._partly_on_disk
        assert partly, "5: the queue of an absent run is filled from the store"
        place = (image.queued_score, image.run_id)
        assert queue.last is None or place > queue.last, "5: an absent run is behind the last place"
    if image.wake_at_ms is not None:
        assert image.wake_at_ms > partition.timers.horizon_ms, "5: it waits beyond the horizon"


def _shown(run: Run) -> tuple[object, ...]:
    """All that rows tell of a run. Which instance has a call is soft: an extension changes it."""
    state = run.state
    jobs = [
        [name == "instance_id" or getattr(job, name) for name in Job.__struct_fields__]
        for job in state.jobs
    ]
    return (
        run.run_id,
        run.function_no,
        run.event_id,
        run.status,
        run.started_at_ms,
        list(run.steps.items()),
        run.state_bytes,
        run.history_count,
        run.queued_ms,
        jobs,
        [msgspec.structs.astuple(sleep) for sleep in state.sleeps],
        list(state.pending.items()),
        (state.version, state.plan_only, state.quiet, state.again),
        (state.fruitless, state.next_job_no),
    )
