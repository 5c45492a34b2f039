"""What must hold after every commit, numbered; a failure names its number.

1. Every run that is not over has a live row, every live row has a job or a wait.
2. A step is committed once, while its run is not over, at the next position; history likewise.
3. A run begins and ends once, and nothing changes after its end.
4. Memory says what the rows say: a run built from rows is the one in memory.
5. A live run is in memory, or a window over the store will bring it: it is queued behind the
   last place of its function's queue, or waits beyond the horizon.
6. Leases, leased jobs and slots in use are the same, and no instance has more calls than it takes.
   The leases that are looked at first are those that end first.
7. In memory every queued job stands in its queue once, every time up to the horizon is a timer.
   A run has at most one job for each step, and one that is aimed at none.
8. A call leaves only after the commit that holds it, with all steps that were finished then and
   what they came to; it is aimed at a step that is not finished.
9. A report of a call that is not the current one changes nothing.

At the end:

10. No live row, no lease, no slot in use, nothing in memory; a rebuild is empty too.
11. Everybody was answered, and what was acknowledged is there: each event once, one run for each
    function it starts, one run for a producer's id.
12. Every run came to what its program comes to, or failed because its worker was lost too often.
13. Each end has its lifecycle events, and each failure started its handler once.

And always:

14. An answer leaves only after the commit that holds what it acknowledges, all of it.
15. The server finds nothing wrong with itself: it logs no error, raises nothing and puts no input
    into quarantine, but for what the simulation does to it.
16. Nothing happens before its time or long after it: a sleep lasts as long as it was asked to, a
    failed attempt is followed by the next one when the schedule says, as often as is allowed, and
    the server's time does not go back.
17. Of the runs of one function that memory holds, the one that was queued first goes on first.
18. Nothing is done again without a reason: while nothing goes wrong no call is lost and no body
    runs more often than its failures ask. Nor is it done again for ever: a worker that is lost
    three times in a row costs an attempt.
19. What waits for an event, or is cancelled by one, has its watch as long as it does, and no other
    watch is there; a signal is waited for by one run. Memory has the watches, errands and
    schedules of the rows.
20. A wait ends with the first matching event that was decided on after it began and came before its
    time was over; if there is none, at its time with nothing.
21. A step that invoked a function has the outcome of that run, or its time ran out.
22. A signal goes to the run that waits for it, if there is one, and to no other.
23. An instant of a schedule starts a function once, at its time; none is left out while the server
    is there. A deferred function starts once, when its run is over.
24. A run is cancelled by what may cancel it and by nothing else, and in time.
25. No request that the server is to make waits while there is room for one of its function, and
    there are no more at a time than may be.
26. What a request must not show is stored until it is over, and no longer; the history never tells
    it.
27. Memory has the routes of the rows. A call goes the only way that its route allows, and that of a
    pinned run to its version while that is there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

import msgspec

from stepwell.engine.retry import JITTER_MS, retry_delay_ms
from stepwell.engine.rows import (
    DeleteLive,
    DeleteRequestSecrets,
    HistoryKind,
    PutHistory,
    PutLive,
    PutRequestSecrets,
    PutRun,
    PutStep,
    RunStatus,
    StepKind,
    UpdateRun,
)
from stepwell.engine.state import Job, Phase, Run, decode_state
from stepwell.wire.ids import UNTARGETED_STEP
from stepwell.wire.outcomes import Ops
from tests.sim.followed import Followed, check_followed
from tests.sim.routed import Routes
from tests.sim.secret import SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.engine.partition import Partition
    from stepwell.engine.rows import RunImage, Write
    from stepwell.engine.state import RunState
    from stepwell.engine.turn import EngineConfig
    from stepwell.store.memory import MemoryReader, MemoryStore
    from stepwell.wire.ids import RequestId, RunId
    from stepwell.wire.ops import Op
    from stepwell.wire.outcomes import Outcome

LATE_MS = 10_000
"""So long after its time nothing is still waiting, however slow the disk is."""

LOSSES_PER_ATTEMPT = 3

_BEGINS = {
    "AIGateway": HistoryKind.INFER_STARTED,
    "DeferAdd": HistoryKind.DEFERRED,
    "Gateway": HistoryKind.FETCH_STARTED,
    "InvokeFunction": HistoryKind.INVOKE_STARTED,
    "WaitForEvent": HistoryKind.WAIT_STARTED,
    "WaitForSignal": HistoryKind.SIGNAL_WAIT_STARTED,
}
"""Operations whose step is not over when they are acknowledged, and the row that tells of them."""


class Call(Protocol):
    """A call that leaves, as a decision or as a message."""

    @property
    def run_id(self) -> RunId: ...
    @property
    def request_id(self) -> RequestId: ...
    @property
    def step_id(self) -> str: ...
    @property
    def stack(self) -> tuple[str, ...]: ...


class Committed:
    """The rows of all commits, checked as they come.

    Args:
        config: Whose retry schedule must be kept; None if it does not matter.
    """

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.statuses: dict[RunId, RunStatus] = {}
        self.live: set[RunId] = set()
        self.steps: dict[RunId, list[str]] = {}
        self.sent: dict[RequestId, RunId] = {}
        """Calls that the last commit gave out."""
        self.called: dict[RequestId, RunId] = {}
        """All calls."""
        self.states: dict[RunId, RunState] = {}
        """What the live rows keep."""
        self.followed = Followed()
        self.routes = Routes()
        self.late_ms = LATE_MS
        self._config = config
        self._history: Counter[RunId] = Counter()
        self._commits = 0
        self._fences: dict[RunId, set[RequestId]] = {}
        self._retired: dict[RequestId, int] = {}
        self._waits: dict[RunId, dict[int, tuple[int, int]]] = {}  # by job: attempt, due time
        self._sleeps: dict[tuple[RunId, str], int] = {}
        self._told: set[tuple[RunId, str, HistoryKind]] = set()
        self._failed_ms: dict[RunId, int] = {}  # in this commit
        self._secrets: dict[RunId, set[int]] = {}  # numbers of the rows of requests
        self._up_since_ms: int | None = None
        self._now_ms = 0

    def restart(self) -> None:
        """Another process has another clock, and begins late with everything."""
        self._up_since_ms = None
        self._now_ms = 0

    def take(self, writes: Sequence[Write], now_ms: int | None = None) -> list[RunId]:
        """Check one commit (1, 2, 3, 16); returns the runs that it changed and that live.

        Args:
            now_ms: The server's time now, at or after that of the decision; None to leave time out.
        """
        self._commits += 1
        self.sent = {}
        self._failed_ms.clear()
        if self._up_since_ms is None:
            self._up_since_ms = now_ms
        if now_ms is not None:
            assert now_ms >= self._now_ms, "16: time does not go back"
            self._now_ms = now_ms
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
                    self._take_step(row)
                case PutHistory():
                    assert row.seq == self._history[row.run_id], "2: history is contiguous"
                    self._history[row.run_id] += 1
                    if row.kind is HistoryKind.ATTEMPT_FAILED:
                        self._failed_ms[row.run_id] = row.at_ms
                    self._told.add((row.run_id, row.step_id or "", row.kind))
                    assert SECRET not in (row.payload or b""), "26: the history tells no secret"
                    if row.kind is HistoryKind.SLEEP_STARTED:
                        assert row.payload is not None, "2: a sleep has its time"
                        self._sleeps[row.run_id, row.step_id or ""] = int(row.payload)
                case PutLive():
                    has_reason = row.queued_score is not None or row.wake_at_ms is not None
                    assert has_reason, "1: a live run has a job or a wait"
                    self.live.add(row.run_id)
                    changed[row.run_id] = None
                    state = self.states[row.run_id] = decode_state(row.state)
                    self._take_jobs(row.run_id, state.jobs, now_ms)
                case DeleteLive():
                    self.live.discard(row.run_id)
                    self.states.pop(row.run_id, None)
                    changed.pop(row.run_id, None)
                    self._retire(row.run_id, set())
                    self._waits.pop(row.run_id, None)
                case PutRequestSecrets():
                    self._secrets.setdefault(row.run_id, set()).add(row.seq)
                case DeleteRequestSecrets():
                    self._secrets.get(row.run_id, set()).discard(row.seq)
                case _:
                    pass
        for run_id, seqs in self._secrets.items():
            live = self.states.get(run_id)
            jobs = () if live is None else live.jobs
            assert seqs <= {job.request_seq for job in jobs}, "26: secrets go with their request"
        self.followed.take(writes, self.states)
        self.routes.take(writes)
        alive = {run_id for run_id, status in self.statuses.items() if not status.is_over}
        assert alive == self.live, "1: the runs that are not over are those with a live row"
        return list(changed)

    def retired_now(self, request_id: RequestId) -> bool:
        """Whether the last commit ended this call; an earlier one did so if it raises 9."""
        ended = self._retired.get(request_id)
        assert ended is None or ended == self._commits, "9: a report of a call that is over counts"
        return ended is not None

    def holds(self, run_id: RunId, op: Op) -> bool:
        """Whether what a call reported of a step is on disk."""
        match op.op:
            case "StepRun" | "Step" | "StepFailed":
                return op.id in self.steps.get(run_id, ())
            case "Sleep":
                return (run_id, op.id) in self._sleeps
            case _ if op.op in _BEGINS:
                begun = (run_id, op.id, _BEGINS[op.op]) in self._told
                return begun or op.id in self.steps.get(run_id, ())
            case _:
                return True

    def _take_step(self, row: PutStep) -> None:
        finished = self.steps.setdefault(row.run_id, [])
        assert row.step_id not in finished, "2: a step is committed once"
        assert row.position == len(finished), "2: positions are contiguous"
        # A run that is new in this commit has its own row behind those of its steps.
        status = self.statuses.get(row.run_id)
        assert status is None or not status.is_over, "2: a step of a run that goes on"
        finished.append(row.step_id)
        if row.kind is StepKind.SLEEP:
            self.check_time(self._sleeps[row.run_id, row.step_id], row.ended_at_ms)

    def _take_jobs(self, run_id: RunId, jobs: Sequence[Job], now_ms: int | None) -> None:
        fences = {job.request_id for job in jobs if job.request_id is not None}
        requests = {job.request_id for job in jobs if job.request_seq >= 0}
        for request_id in fences - self._fences.get(run_id, set()):
            assert request_id not in self._retired, "9: a fence is used once"
            if request_id not in requests:
                self.sent[request_id] = self.called[request_id] = run_id
        self._retire(run_id, fences)
        before = self._waits.get(run_id, {})
        after = self._waits[run_id] = {}
        for job in jobs:
            costs = job.losses // LOSSES_PER_ATTEMPT
            assert job.attempt >= costs, "18: three losses in a row use up an attempt"
            waited = before.get(job.no)
            if job.phase is Phase.WAITING:
                after[job.no] = (job.attempt, job.due_ms)
                if waited is None:
                    self._check_schedule(run_id, job)
                else:
                    assert waited == after[job.no], "16: an attempt that waits is left alone"
            elif waited is not None and waited[0] == job.attempt:
                self.check_time(waited[1], now_ms)

    def _check_schedule(self, run_id: RunId, job: Job) -> None:
        if self._config is None:
            return
        assert run_id in self._failed_ms, "16: an attempt waits because one has failed"
        interval_ms = self._config.retry_interval_ms
        least_ms = retry_delay_ms(job.attempt - 1, interval_ms=interval_ms, entropy=0)
        waits_ms = job.due_ms - self._failed_ms[run_id]
        assert least_ms <= waits_ms <= least_ms + JITTER_MS, f"16: a retry waits {waits_ms} ms"

    def check_time(self, due_ms: int, now_ms: int | None) -> None:
        """16: something that was due then happens now."""
        if now_ms is None:
            return
        assert now_ms >= due_ms, f"16: it happened {due_ms - now_ms} ms before its time"
        if self._up_since_ms is not None:
            late_ms = now_ms - max(due_ms, self._up_since_ms)
            assert late_ms <= self.late_ms, f"16: it happened {late_ms} ms after its time"

    def _retire(self, run_id: RunId, fences: set[RequestId]) -> None:
        for request_id in self._fences.get(run_id, set()) - fences:
            self._retired[request_id] = self._commits
        self._fences[run_id] = fences


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
    requests: dict[RequestId, int] = {}
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
                if job.request_seq >= 0:
                    requests[job.request_id] = run.function_no
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
        seeks = [sleep.step_id for sleep in run.state.sleeps]
        seeks += [wait.step_id for wait in run.state.waits]
        assert len(seeks) == len(set(seeks)), "7: a step waits for one thing"
        due.update(
            id(timed) for timed in run.state.times() if timed.due_ms <= partition.timers.horizon_ms
        )
    assert len(partition.leases) == len(leased), "6: a lease has a leased job"
    assert partition.request_slots._out == requests, "6: a request under way has its slot"
    for leases in (partition.leases._held, partition.leases._dropped):
        ends = [lease.until_ms for lease in leases.values()]
        assert ends == sorted(ends), "6: leases are in the order of their ends"
    in_use = {
        name: instance.in_use
        for name, instance in partition.workers._instances.items()
        if instance.in_use
    }
    assert in_use == dict(slots), "6: slots in use are leased jobs"
    standing = Counter(
        id(job)
        for queue in partition.backlog._functions.values()
        for line in (queue.heap, *queue.pinned.values())
        for *_place, job in line
        if job.phase is Phase.QUEUED
    )
    assert standing == queued, "7: a queued job stands in its queue once"
    set_timers = {id(wait) for _due, _seq, _run, wait in partition.timers._heap}
    assert due <= set_timers, "7: a time up to the horizon is a timer"


def check_rows_followed(committed: Committed, partition: Partition) -> None:
    """19."""
    check_followed(committed.followed, partition)


def check_limits(partition: Partition) -> None:
    """6, where no worker changes its limit."""
    for instance in partition.workers._instances.values():
        if instance.connections:
            assert instance.in_use <= instance.limit, "6: an instance has no more than it takes"


def check_requests(partition: Partition) -> bool:
    """25, after a turn that left nothing for the next one; returns whether some wait."""
    slots = partition.request_slots
    assert len(slots) <= partition.config.step_requests_max, "25: no more at a time than may be"
    waits = False
    for run in partition.runs.values():
        for job in run.state.jobs:
            if job.phase is Phase.QUEUED and job.request_seq >= 0:
                waits = True
                has_room = slots.admits(run.function_no)
                assert not has_room, "25: no request waits while there is room for it"
    return waits


def check_order(committed: Committed, partition: Partition) -> None:
    """17, for the calls of the last commit."""
    queued = [
        run
        for run in partition.runs.values()
        if any(job.phase is Phase.QUEUED and job.request_seq < 0 for job in run.state.jobs)
    ]
    for run_id in committed.sent.values():
        sent = partition.runs.get(run_id)
        for run in queued:
            waits_longer = sent is not None and run.run_id < run_id
            same = waits_longer and sent is not None and run.function_no == sent.function_no
            same = same and sent is not None and run.state.pin == sent.state.pin
            assert not same, "17: first come, first served"


def check_answer(committed: Committed, request_id: RequestId, outcome: Outcome) -> None:
    """9 and 14, as a worker hears that its report counts."""
    assert committed.retired_now(request_id), "14: a report is acknowledged once it is stored"
    run_id = committed.called[request_id]
    if isinstance(outcome, Ops) and run_id in committed.live:
        for op in outcome.ops:
            assert committed.holds(run_id, op), f"14: {op.op} {op.label} is acknowledged and lost"


def check_checkpoint(committed: Committed, run_id: RunId, ops: Sequence[Op]) -> None:
    """14, as a worker hears that the steps of a call that goes on are stored."""
    for op in ops if run_id in committed.live else ():
        assert committed.holds(run_id, op), f"14: {op.op} {op.label} is acknowledged and lost"


def check_call(committed: Committed, store: MemoryStore, call: Call, exact: bool = True) -> None:
    """8, as a call leaves. `exact`: nothing was committed since the one that holds it."""
    (image,) = store.load_runs([call.run_id]) or (None,)
    assert image is not None, "8: a call's run is stored"
    fences = [job.request_id for job in Run.from_image(image).state.jobs]
    assert call.request_id in fences, "8: a call is stored before it leaves"
    finished = tuple(committed.steps.get(call.run_id, ()))
    known = finished if exact else finished[: len(call.stack)]
    assert call.stack == known, "8: a call carries all finished steps"
    aimed = call.step_id != UNTARGETED_STEP
    assert not (aimed and call.step_id in finished), "8: a call is not aimed at a finished step"


def check_end(partition: Partition, rebuilt: Partition, reader: MemoryReader) -> None:
    """10."""
    assert reader.count_live() == 0, "10: no live row"
    for each in (partition, rebuilt):
        assert not each.runs, "10: no run in memory"
        assert len(each.leases) == 0, "10: no lease"
        assert len(each.request_slots) == 0, "10: no request under way"
        assert not any(i.in_use for i in each.workers._instances.values()), "10: no slot"
        heads = [
            each.backlog.head(no, version)
            for no in each.backlog.functions(each.backlog._functions.keys())
            for version in each.backlog.lines(no)
        ]
        assert not any(heads), "10: nothing queued"
        assert not each.watches._paths, "10: nothing is watched for"
        assert not each.errands, "10: no errand"


def _check_reachable(partition: Partition, image: RunImage) -> None:
    run = Run.from_image(image)
    assert all(job.phase is not Phase.LEASED for job in run.state.jobs), "5: calls are in memory"
    if image.queued_score is not None:
        no = run.live_row().function_no
        queue = partition.backlog._functions.get(no)
        assert queue is not None, "5: the queue of an absent run is known"
        partly = no in partition.backlog._partly_on_disk
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
        [msgspec.structs.astuple(timed) for timed in state.times()],
        [msgspec.structs.astuple(cancel) for cancel in state.cancels],
        {step_id: msgspec.structs.astuple(defer) for step_id, defer in state.defers.items()},
        state.parent,
        list(state.pending.items()),
        (state.version, state.plan_only, state.quiet, state.again),
        (state.fruitless, state.next_job_no, state.history_bytes),
    )
