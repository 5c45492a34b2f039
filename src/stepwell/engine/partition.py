"""One single-writer slice of the engine: facts in, rows and orders out.

Nothing here does I/O or reads a clock. The runtime loads what an input needs, calls `step`,
commits the writes, and only then carries out the effects. If a commit fails, or `step` raises, the
partition is thrown away and built again from rows.

What is soft (not in rows): connections, which of them holds a call, and how long leases still
last. `ack` and `extend_lease` change only that, so they need no commit.
"""

from __future__ import annotations

from functools import partial
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from stepwell.engine.catalog import Catalog
from stepwell.engine.checkpointing import checkpoint
from stepwell.engine.deferring import start_deferred
from stepwell.engine.effects import (
    AppGone,
    AppRegistered,
    CancelTaken,
    CheckpointTaken,
    EventsAccepted,
    FunctionStarted,
    Reply,
    ReportTaken,
    RouteTaken,
    SignalTaken,
    Transition,
)
from stepwell.engine.errands import Errands
from stepwell.engine.inputs import (
    AppRemoved,
    AppSynced,
    CallReported,
    CallUnheard,
    CancelRequested,
    ChildEnded,
    DefersDue,
    EventMatched,
    EventsReceived,
    FunctionInvoked,
    RequestReported,
    RouteChosen,
    RunPoisoned,
    SignalSent,
    StepsCheckpointed,
    WorkerAttached,
    WorkerDetached,
    WorkerGone,
)
from stepwell.engine.invoking import Payload, child_ended, invocation, start_target
from stepwell.engine.leases import Leases, ends_with_server, make_lease_id
from stepwell.engine.queue.backlog import Backlog
from stepwell.engine.queue.request_slots import RequestSlots
from stepwell.engine.queue.timers import Timers
from stepwell.engine.report import Report
from stepwell.engine.requesting import give_out_requests, request_reported
from stepwell.engine.routing import Router, Routes
from stepwell.engine.rows import PutEvent, StepKind
from stepwell.engine.schedules import Schedules
from stepwell.engine.starting import receive_event
from stepwell.engine.state import Deadline, Job, Phase, Run, Sleep, Wait
from stepwell.engine.turn import SERVER_CONNECTION, EngineConfig, Turn, failure
from stepwell.engine.waiting import Waiting, waiting_for
from stepwell.engine.waits import cancel_run, event_matched, signal_arrived, time_out
from stepwell.engine.watches import Watches
from stepwell.engine.workers import Workers
from stepwell.wire.ids import app_uuid, ulid_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from stepwell.engine.inputs import Input
    from stepwell.engine.leases import Lease
    from stepwell.engine.queue.backlog import Place
    from stepwell.engine.rows import (
        PutApp,
        PutErrand,
        PutFunction,
        PutRoute,
        PutSchedule,
        PutTransport,
        RunImage,
    )
    from stepwell.engine.state import Timed
    from stepwell.engine.watches import Place as WatchPlace
    from stepwell.wire.events import NewEvent
    from stepwell.wire.ids import EventId, IdSource, RequestId, RunId

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
        self.request_slots = RequestSlots(config.step_requests_max)
        self.workers = Workers()
        self.routes = Routes()
        self.router = Router(
            workers=self.workers, routes=self.routes, pin_wait_ms=config.pin_wait_ms
        )
        self.watches = Watches()
        self.errands = Errands()
        self.schedules = Schedules()
        self._calls_wait = False
        self.at_work: RunId | None = None
        """The run that `step` is changing, for whoever must know which one made it raise."""

    # --- loading ---

    def load_catalog(
        self,
        apps: Iterable[PutApp],
        functions: Iterable[PutFunction],
        queued: Iterable[int],
        *,
        transports: Iterable[PutTransport] = (),
        routes: Iterable[PutRoute] = (),
    ) -> None:
        """Begin: apps, functions, and the numbers of the queues that have runs in the store."""
        self.catalog.load(apps, functions, transports)
        self.routes.load(routes, self.catalog.all_functions)
        for no in queued:
            self.backlog.expect(no)

    def load_rest(
        self,
        *,
        watched: Iterable[tuple[str, str, int, bytes]],
        errands: Iterable[PutErrand],
        schedules: Iterable[PutSchedule],
    ) -> None:
        """After the catalog: what runs watch for, what is still to be done, what is scheduled."""
        self.watches.load(watched)
        self.errands.load(errands)
        self.schedules.load(schedules, self.catalog)

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
                    if job.request_seq >= 0:
                        assert job.request_id is not None, "a leased job has its fence"
                        self.request_slots.take(job.request_id, run.function_no)
                else:
                    self.timers.push(run, job)
            for timed in run.state.times():
                self.timers.push(run, timed)

    def take_over(self, before: Partition, connections: Collection[str]) -> None:
        """This one was built from rows because the last commit of `before` failed; these
        connections are still there, with their calls."""
        self.leases.take_over(before.leases, {*connections, SERVER_CONNECTION})

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
            self._lose(turn, lease)
            room -= 1
        behind_ms = self.errands.oldest_ms()
        too_early: list[tuple[Run, Wait]] = []
        while room and (due := self.timers.pop_due(turn.now_ms)) is not None:
            run, wait = due
            room -= 1
            if behind_ms is not None and isinstance(wait, Wait) and wait.due_ms > behind_ms:
                too_early.append((run, wait))  # what it waits for may have come in time
                continue
            self.at_work = run.run_id
            self._wake(turn, run, wait)
        for run, wait in too_early:
            self.timers.push(run, wait)
        self.at_work = None
        while room and self.schedules.fire_next(turn):
            room -= 1

    @staticmethod
    def _wake(turn: Turn, run: Run, wait: Job | Timed) -> None:
        match wait:
            case Job():
                turn.wake_retry(run, wait)
            case Sleep():
                turn.finish_waiting_step(run, wait, StepKind.SLEEP, b"null")
            case Deadline():
                what = "finish" if wait.finish else "start"
                cancel_run(turn, run, f"its {what} timeout")
            case _:
                time_out(turn, run, wait)

    def next_wakeup_ms(self) -> int:
        """When to call `step` again even if nothing comes in."""
        if self._calls_wait or self.errands:
            return 0
        first_ms = self.timers.next_ms()
        others = (self.leases.next_ms(), self.schedules.next_ms(), self.router.wakeup_ms)
        for other_ms in others:
            if other_ms is not None and other_ms < first_ms:
                first_ms = other_ms
        return first_ms

    def watch_places(self, event: Mapping[str, Any]) -> list[WatchPlace]:
        """Where the store has the watches that an event may concern."""
        return self.watches.places(str(event["name"]), event)

    def waiting(self, function_no: int, state: bytes) -> Waiting | None:
        """Why a run does not go on just now. `state` is its live row's."""
        entry = self.catalog.by_no(function_no)
        slug = "" if entry is None else entry.slug
        return waiting_for(
            state,
            slug=slug,
            for_worker=partial(self.router.waiting, function_no, slug),
            leases=self.leases,
        )

    def clock_jumped(self, ms: int) -> None:
        """The clock was set forward: sleeps follow it, leases and waits for a version do not."""
        self.leases.shift(ms)
        self.router.shift(ms)

    def calls_leave(self, request_ids: Iterable[RequestId], now_ms: int) -> None:
        """The commit of these calls took long: their workers had nothing of that time."""
        for request_id in request_ids:
            self.leases.begin(request_id, now_ms)

    def load_of(self, connection_id: str, instance_id: str) -> tuple[int, int, int]:
        """Calls that a connection has, those of its instance, and the instance's limit."""
        return (self.leases.count_of(connection_id), *self.workers.in_use(instance_id))

    def run_of(self, request_id: RequestId) -> Run | None:
        """The run of a call that is the current one of its job."""
        lease = self.leases.get(request_id)
        return None if lease is None else lease.run

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
        """Let a call go on; returns the id to name next time, None if the lease is lost, or is
        not extended any more because the call takes too long.

        The id used last is taken again: its answer may have been lost. A call that survived a
        restart takes any id once.
        """
        lease = self.leases.get(request_id)
        if lease is None:
            return None
        if lease.lease_id is not None and lease_id not in (lease.lease_id, lease.used_id):
            return None
        if lease.is_overdue(now_ms, self.config.call_timeout_ms):
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

    def dedup_keys(self, events: Iterable[NewEvent], now_ms: int) -> list[tuple[int, str]]:
        """What must be known of earlier runs before these events are decided on."""
        return [
            (entry.no, event.external_id)
            for event in events
            if event.external_id is not None
            for entry in self.catalog.started_by(event.name, _decoder(event, None, now_ms), now_ms)
        ]

    def starts(self, event: NewEvent, now_ms: int) -> int:
        """How many runs an event would start, unless its id was seen."""
        return len(self.catalog.started_by(event.name, _decoder(event, None, now_ms), now_ms))

    # --- one input ---

    def _decide(self, turn: Turn, item: Input) -> None:
        match item:
            case CallReported():
                self._reported(turn, item)
            case EventsReceived():
                self._received(turn, item)
            case WorkerAttached():
                versions = {
                    entry.no: item.versions.get(app_name, "")
                    for app_name, slug in sorted(item.functions)
                    if (entry := self.catalog.by_slug(app_name=app_name, slug=slug)) is not None
                }
                self.workers.attach(
                    item.connection_id,
                    instance_id=item.instance_id,
                    limit=item.limit,
                    functions=versions,
                    version_ms=item.version_ms,
                    versions=versions,
                )
            case WorkerDetached():
                self._detach(turn, item.connection_id, turn.requeue)
            case WorkerGone():
                # Counted as losses: a step may end its process before the acknowledgement leaves.
                self._detach(turn, item.connection_id, turn.lose)
                for request_id in self.leases.of_connection(item.connection_id):
                    self.leases.drop(request_id, turn.now_ms)
            case CallUnheard():
                lease = self.leases.get(item.request_id)
                if (
                    lease is not None
                    and lease.connection_id == item.connection_id
                    and not lease.acked
                ):
                    self.at_work = lease.run.run_id
                    turn.lose(lease.run, lease.job)
            case AppSynced():
                self._synced(turn, item)
            case AppRemoved():
                self._removed(turn, item)
            case RouteChosen():
                self._routed(turn, item)
            case StepsCheckpointed():
                taken = CheckpointTaken(refusal=checkpoint(turn, item))
                turn.effects.append(Reply(ticket=item.ticket, result=taken))
            case RequestReported():
                request_reported(turn, item)
            case EventMatched():
                event_matched(turn, item)
            case ChildEnded():
                child_ended(turn, item)
            case DefersDue():
                start_deferred(turn, item)
            case SignalSent():
                self._signalled(turn, item)
            case FunctionInvoked():
                self._invoked(turn, item)
            case CancelRequested():
                run = self.runs.get(item.run_id)
                if run is not None:
                    self.at_work = run.run_id
                    cancel_run(turn, run, "a request")
                result = CancelTaken(cancelled=run is not None)
                turn.effects.append(Reply(ticket=item.ticket, result=result))
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
            Report(turn, lease.run, lease.job, event=item.event, signals=item.signals).apply(
                item.outcome
            )
        turn.effects.append(
            Reply(ticket=item.ticket, result=ReportTaken(accepted=lease is not None))
        )

    def _received(self, turn: Turn, item: EventsReceived) -> None:
        for arrived in item.events:
            if arrived.known:
                continue
            event = arrived.event
            receive_event(
                turn,
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
                event=_decoder(event, arrived.event_id, turn.now_ms),
                dedup_key=event.external_id,
                started=lambda no, key: (no, key) in item.started,
            )
        turn.effects.append(
            Reply(
                ticket=item.ticket,
                result=EventsAccepted(ids=tuple(arrived.event_id for arrived in item.events)),
            )
        )

    def _signalled(self, turn: Turn, item: SignalSent) -> None:
        loaded = None if item.found is None else self.runs.get(item.found[1])
        if loaded is not None:
            turn.looked_at(loaded)
        run, wait = turn.signals.get(item.signal, (None, None))
        if run is None and item.found is not None and item.found[0] not in turn.signals_over:
            watch_id, run_id = item.found
            run = self.runs.get(run_id)
            # It may have had the signal earlier in this turn.
            waits = () if run is None else run.state.waits
            wait = next((wait for wait in waits if wait.watch_id == watch_id), None)
        taken = run is not None and wait is not None
        if run is not None and wait is not None:
            self.at_work = run.run_id
            signal_arrived(turn, run, wait, item.data)
        result = SignalTaken(run_id=run.run_id if run is not None and taken else None)
        turn.effects.append(Reply(ticket=item.ticket, result=result))

    def _invoked(self, turn: Turn, item: FunctionInvoked) -> None:
        target = self.catalog.named(item.function)
        ids = None
        if target is not None:
            payload = Payload(
                data=_OBJECT.decode(item.data),
                user=None if item.user is None else _OBJECT.decode(item.user),
                v=item.v,
            )
            row = invocation(turn, payload, {"fn_id": target.slug})
            ids = (start_target(turn, row, target).run_id, row.event_id)
        turn.effects.append(Reply(ticket=item.ticket, result=FunctionStarted(ids=ids)))

    def _synced(self, turn: Turn, item: AppSynced) -> None:
        writes = self.catalog.register(item.registration, turn.now_ms)
        if writes:
            writes += self.schedules.sync(self.catalog, turn.now_ms)
            self.routes.refresh(self.catalog.all_functions)
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

    def _removed(self, turn: Turn, item: AppRemoved) -> None:
        writes = self.catalog.remove(item.app_name, turn.now_ms, item.method)
        if writes:
            writes += self.schedules.sync(self.catalog, turn.now_ms)
        turn.writes += writes
        turn.effects.append(Reply(ticket=item.ticket, result=AppGone(found=bool(writes))))

    def _routed(self, turn: Turn, item: RouteChosen) -> None:
        writes = self.routes.put(item.route)
        self.routes.refresh(self.catalog.all_functions)
        turn.writes += writes
        taken = RouteTaken(modified=bool(writes))
        turn.effects.append(Reply(ticket=item.ticket, result=taken))

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
    def _lose(turn: Turn, lease: Lease) -> None:
        run, job = lease.run, lease.job
        # What ended with the server that made it is made again. One that this server lets lie,
        # time after time, must not be made for ever.
        ended_with_server = ends_with_server(job) and lease.connection_id is None
        overdue = lease.is_overdue(lease.until_ms, turn.owner.config.call_timeout_ms)
        give_away = turn.requeue if ended_with_server else turn.overrun if overdue else turn.lose
        turn.owner.workers.free(job.instance_id)
        if job.request_seq >= 0:
            assert job.request_id is not None, "a leased job has its fence"
            turn.owner.request_slots.free(job.request_id)
        job.request_id = None
        job.instance_id = ""
        job.phase = Phase.OVER
        give_away(run, job)

    # --- giving out calls ---

    def _give_out(self, turn: Turn) -> None:
        """Match queued jobs and free slots: over all functions, first come first served."""
        self._calls_wait = give_out_requests(turn, GIVE_OUT_MAX)
        router = self.router
        router.wakeup_ms = None
        heads = [
            (place, no, version)
            for no in self.backlog.functions(self.workers.served)
            for version in self.backlog.lines(no)
            if (place := self.backlog.head(no, version)) is not None
        ]
        heapify(heads)
        room = GIVE_OUT_MAX
        while heads:
            if not room:
                self._calls_wait = True
                return
            place, no, version = heads[0]
            connection = router.pick(no, place[1], version, turn.now_ms)
            if connection is None:
                heappop(heads)
                continue
            run, job = self.backlog.pop(no, version)
            self.at_work = run.run_id
            turn.lease(run, job, connection)
            room -= 1
            next_place = self.backlog.head(no, version)
            if next_place is None:
                heappop(heads)
            elif len(heads) == 1:
                continue  # nobody else waits: the order among its jobs is the queue's
            else:
                heapreplace(heads, (next_place, no, version))

    def _stay_small(self) -> None:
        for run in self.backlog.trim(self.timers.horizon_ms):
            self.runs.pop(run.run_id, None)
        if self.timers.overfull:
            horizon_ms = self.timers.draw_nearer()
            for run in list(self.runs.values()):
                until_ms = run.is_idle_until()
                if until_ms is not None and until_ms > horizon_ms:
                    del self.runs[run.run_id]


def _decoder(
    event: NewEvent, event_id: EventId | None, now_ms: int
) -> Callable[[], Mapping[str, Any]]:
    """Gives the event as conditions see it: what its producer left out as the server fills it in.

    Without an `event_id` the event has its producer's id, or none yet.
    """

    def decoded() -> Mapping[str, Any]:
        fields: dict[str, Any] = {
            "name": event.name,
            "data": msgspec.json.decode(event.data),
            "user": msgspec.json.decode(event.user or b"{}"),
            "ts": now_ms if event.ts_ms is None else event.ts_ms,
        }
        if event.external_id is not None:
            fields["id"] = event.external_id
        elif event_id is not None:
            fields["id"] = ulid_text(event_id)
        if event.v is not None:
            fields["v"] = event.v
        if event.meta is not None:
            fields["meta"] = msgspec.json.decode(event.meta)
        return fields

    return decoded


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
