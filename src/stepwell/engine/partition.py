"""One single-writer slice of the engine: facts in, rows and orders out.

Nothing here does I/O or reads a clock. The runtime loads what an input needs, calls `step`,
commits the writes, and only then carries out the effects. If a commit fails, or `step` raises, the
partition is thrown away and built again from rows.

What is soft (not in rows): connections, which of them holds a call, and how long leases still
last. `ack` and `extend_lease` change only that, so they need no commit.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from stepwell.engine.catalog import Catalog
from stepwell.engine.effects import (
    AppRegistered,
    EventsAccepted,
    Reply,
    ReportTaken,
    Transition,
)
from stepwell.engine.inputs import (
    AppSynced,
    CallReported,
    EventsReceived,
    RunPoisoned,
    WorkerAttached,
    WorkerDetached,
    WorkerGone,
)
from stepwell.engine.leases import Leases, make_lease_id
from stepwell.engine.queue.backlog import Backlog
from stepwell.engine.queue.timers import Timers
from stepwell.engine.report import Report
from stepwell.engine.rows import PutEvent
from stepwell.engine.state import Job, Phase, Run
from stepwell.engine.turn import EngineConfig, Turn, failure
from stepwell.engine.waiting import Waiting, waiting_for
from stepwell.engine.workers import Workers
from stepwell.wire.ids import app_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from stepwell.engine.inputs import Input
    from stepwell.engine.queue.backlog import Place
    from stepwell.engine.rows import PutApp, PutFunction, RunImage
    from stepwell.wire.events import NewEvent
    from stepwell.wire.ids import IdSource, RequestId, RunId

GIVE_OUT_MAX = 200
DUE_PER_TURN_MAX = 1_000
"""Calls given out in one turn, and leases and times decided on: what has arrived meanwhile is
decided on before the next ones."""


class Partition:
    """The engine's state for one owner."""

    def __init__(self, config: EngineConfig, ids: IdSource) -> None:
        self.config = config
        self.ids = ids
        self.catalog = Catalog()
        self.runs: dict[RunId, Run] = {}
        self.backlog = Backlog(config.queue_window)
        self.timers = Timers(config.timer_window)
        self.leases = Leases(lease_ms=config.lease_ms, grace_ms=config.reconnect_grace_ms)
        self.workers = Workers()
        self._calls_wait = False
        self.at_work: RunId | None = None
        """The run that `step` is changing, for whoever must know which one made it raise."""

    # --- loading ---

    def load_catalog(
        self, apps: Iterable[PutApp], functions: Iterable[PutFunction], queued: Iterable[int]
    ) -> None:
        """Begin: apps, functions, and the numbers of functions with queued runs in the store."""
        self.catalog.load(apps, functions)
        for no in queued:
            self.backlog.expect(no)

    def load(self, images: Iterable[RunImage], now_ms: int) -> None:
        """Take live runs from rows; those that are here already are left as they are."""
        for image in images:
            if image.run_id in self.runs:
                continue
            run = Run.from_image(image)
            self.runs[run.run_id] = run
            for job in run.state.jobs:
                if job.phase is Phase.QUEUED:
                    self.backlog.push(run, job)
                elif job.phase is Phase.LEASED:
                    self.leases.recover(run, job, now_ms)
                    self.workers.take(job.instance_id)
                else:
                    self.timers.push(run, job)
            for sleep in run.state.sleeps:
                self.timers.push(run, sleep)

    def take_over(self, before: Partition, connections: Collection[str]) -> None:
        """This one was built from rows because the last commit of `before` failed; these
        connections are still there, with their calls."""
        self.leases.take_over(before.leases, connections)

    def wanted_queues(self) -> list[tuple[int, Place | None]]:
        """Functions whose queue the store should fill up, and behind which place."""
        return self.backlog.wanted()

    def queue_loaded(self, function_no: int, last: Place | None, *, more: bool) -> None:
        """The answer to `wanted_queues`, after `load`."""
        self.backlog.loaded(function_no, last, more=more)

    @property
    def horizon_ms(self) -> int:
        """All runs that are due by then are in memory."""
        return self.timers.horizon_ms

    def move_horizon(self, horizon_ms: int) -> None:
        """All runs that are due by then were loaded."""
        self.timers.move(horizon_ms, self.runs.values())

    # --- deciding ---

    def step(
        self, inputs: Sequence[Input], now_ms: int, *, inputs_only: bool = False
    ) -> Transition:
        """Decide on the inputs, in order, then on what is due, then give out calls.

        Args:
            inputs_only: Leave the rest for another turn. For whoever must know which input makes
                this raise; `at_work` names the run.
        """
        turn = Turn(self, now_ms)
        self.leases.begin_turn()
        for item in inputs:
            self.at_work = None
            self._decide(turn, item)
        if not inputs_only:
            self._decide_due(turn)
            self._give_out(turn)
        turn.settle()
        self.at_work = None
        self._stay_small()
        return Transition(writes=turn.writes, effects=turn.effects)

    def _decide_due(self, turn: Turn) -> None:
        """Leases that have ended, then times that have come: so many, the rest next turn."""
        room = DUE_PER_TURN_MAX
        while room and (lease := self.leases.pop_ended(turn.now_ms)) is not None:
            self.at_work = lease.run.run_id
            self._lose(turn, lease.run, lease.job)
            room -= 1
        while room and (due := self.timers.pop_due(turn.now_ms)) is not None:
            run, wait = due
            self.at_work = run.run_id
            if isinstance(wait, Job):
                turn.wake_retry(run, wait)
            else:
                turn.wake_sleep(run, wait)
            room -= 1

    def next_wakeup_ms(self) -> int:
        """When to call `step` again even if nothing comes in."""
        if self._calls_wait:
            return 0
        timer_ms = self.timers.next_ms()
        lease_ms = self.leases.next_ms()
        return timer_ms if lease_ms is None else min(timer_ms, lease_ms)

    def waiting(self, function_no: int, state: bytes) -> Waiting | None:
        """Why a run does not go on just now. `state` is its live row's."""
        entry = self.catalog.by_no(function_no)
        return waiting_for(
            state,
            slug="" if entry is None else entry.slug,
            is_served=self.workers.serves(function_no),
            leases=self.leases,
        )

    def clock_jumped(self, ms: int) -> None:
        """The clock was set forward: sleeps follow it, leases do not."""
        self.leases.shift(ms)

    def calls_leave(self, request_ids: Iterable[RequestId], now_ms: int) -> None:
        """The commit of these calls took long: their workers had nothing of that time."""
        for request_id in request_ids:
            self.leases.begin(request_id, now_ms)

    def is_out(self, request_id: RequestId) -> bool:
        """Whether this is the current call of a job."""
        return self.leases.get(request_id) is not None

    def ack(self, request_id: RequestId) -> None:
        """The worker took a call."""
        lease = self.leases.get(request_id)
        if lease is not None:
            lease.acked = True

    def extend_lease(
        self, *, connection_id: str, request_id: RequestId, lease_id: bytes, now_ms: int
    ) -> bytes | None:
        """Let a call go on; returns the id to name next time, None if the lease is lost.

        The id used last is taken again: its answer may have been lost. A call that survived a
        restart takes any id once.
        """
        lease = self.leases.get(request_id)
        if lease is None:
            return None
        if lease.lease_id is not None and lease_id not in (lease.lease_id, lease.used_id):
            return None
        self.leases.extend(request_id, connection_id, now_ms)
        instance_id = self.workers.instance_of(connection_id)
        if instance_id is not None and instance_id != lease.job.instance_id:
            self.workers.free(lease.job.instance_id)
            self.workers.take(instance_id)
            lease.job.instance_id = instance_id
        # Within a millisecond the new id is the one that was used; it is no repetition then.
        if lease_id != lease.used_id or lease_id == lease.lease_id:
            lease.used_id = lease_id
            lease.lease_id = make_lease_id(request_id, lease.until_ms)
        return lease.lease_id

    def dedup_keys(self, events: Iterable[NewEvent]) -> list[tuple[int, str]]:
        """What must be known of earlier runs before these events are decided on."""
        return [
            (entry.no, event.external_id)
            for event in events
            if event.external_id is not None
            for entry in self.catalog.started_by(event.name, _decoder(event))
        ]

    def starts(self, event: NewEvent) -> int:
        """How many runs an event would start, unless its id was seen."""
        return len(self.catalog.started_by(event.name, _decoder(event)))

    # --- one input ---

    def _decide(self, turn: Turn, item: Input) -> None:
        match item:
            case CallReported():
                self._reported(turn, item)
            case EventsReceived():
                self._received(turn, item)
            case WorkerAttached():
                nos = [
                    entry.no
                    for app_name, slug in sorted(item.functions)
                    if (entry := self.catalog.by_slug(app_name=app_name, slug=slug)) is not None
                ]
                self.workers.attach(
                    item.connection_id,
                    instance_id=item.instance_id,
                    limit=item.limit,
                    functions=nos,
                    version_ms=item.version_ms,
                )
            case WorkerDetached():
                self._detach(turn, item.connection_id, turn.requeue)
            case WorkerGone():
                # Counted as losses: a step may end its process before the acknowledgement leaves.
                self._detach(turn, item.connection_id, turn.lose)
                for request_id in self.leases.of_connection(item.connection_id):
                    self.leases.drop(request_id, turn.now_ms)
            case AppSynced():
                self._synced(turn, item)
            case RunPoisoned():
                run = self.runs.get(item.run_id)
                if run is not None:
                    turn.fail_run(run, failure("internal_error", item.message))
            case _:
                assert_never(item)

    def _reported(self, turn: Turn, item: CallReported) -> None:
        lease = self.leases.get(item.request_id)
        if lease is not None:
            self.at_work = lease.run.run_id
            Report(turn, lease.run, lease.job).apply(item.outcome)
        turn.effects.append(
            Reply(ticket=item.ticket, result=ReportTaken(accepted=lease is not None))
        )

    def _received(self, turn: Turn, item: EventsReceived) -> None:
        for arrived in item.events:
            if arrived.known:
                continue
            event = arrived.event
            turn.receive_event(
                PutEvent(
                    event_id=arrived.event_id,
                    name=event.name,
                    ts_ms=turn.now_ms if event.ts_ms is None else event.ts_ms,
                    data=event.data,
                    external_id=event.external_id,
                    user=event.user,
                    v=event.v,
                    meta=event.meta,
                ),
                data=_decoder(event),
                dedup_key=event.external_id,
                started=lambda no, key: (no, key) in item.started,
            )
        turn.effects.append(
            Reply(
                ticket=item.ticket,
                result=EventsAccepted(ids=tuple(arrived.event_id for arrived in item.events)),
            )
        )

    def _synced(self, turn: Turn, item: AppSynced) -> None:
        writes = self.catalog.register(item.registration, turn.now_ms)
        turn.writes += writes
        turn.effects.append(
            Reply(
                ticket=item.ticket,
                result=AppRegistered(
                    modified=bool(writes),
                    app_id=app_uuid(item.registration.app_name),
                    sync_id=item.sync_id,
                ),
            )
        )

    def _detach(
        self, turn: Turn, connection_id: str, give_away: Callable[[Run, Job], None]
    ) -> None:
        """Calls that the worker has not acknowledged go elsewhere at once."""
        self.workers.detach(connection_id)
        for request_id in self.leases.of_connection(connection_id):
            lease = self.leases.get(request_id)
            if lease is not None and not lease.acked:
                self.at_work = lease.run.run_id
                give_away(lease.run, lease.job)

    @staticmethod
    def _lose(turn: Turn, run: Run, job: Job) -> None:
        turn.owner.workers.free(job.instance_id)
        job.request_id = None
        job.instance_id = ""
        job.phase = Phase.OVER
        turn.lose(run, job)

    # --- giving out calls ---

    def _give_out(self, turn: Turn) -> None:
        """Match queued jobs and free slots: over all functions, first come first served."""
        self._calls_wait = False
        heads = [
            (place, no)
            for no in self.backlog.functions(self.workers.served)
            if (place := self.backlog.head(no)) is not None
        ]
        heapify(heads)
        room = GIVE_OUT_MAX
        while heads:
            if not room:
                self._calls_wait = True
                return
            no = heads[0][1]
            connection = self.workers.pick(no)
            if connection is None:
                heappop(heads)
                continue
            run, job = self.backlog.pop(no)
            self.at_work = run.run_id
            turn.lease(run, job, connection)
            room -= 1
            next_place = self.backlog.head(no)
            if next_place is None:
                heappop(heads)
            else:
                heapreplace(heads, (next_place, no))

    def _stay_small(self) -> None:
        for run in self.backlog.trim(self.timers.horizon_ms):
            self.runs.pop(run.run_id, None)
        if self.timers.overfull:
            horizon_ms = self.timers.draw_nearer()
            for run in list(self.runs.values()):
                until_ms = run.is_idle_until()
                if until_ms is not None and until_ms > horizon_ms:
                    del self.runs[run.run_id]


def _decoder(event: NewEvent) -> Any:
    return lambda: msgspec.json.decode(event.data)
