"""What the API and the gateway ask of the engine: the face of the partition.

Everything here runs on one event loop's thread; how inputs become commits is in `turns`.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.catalog import Catalog, FunctionEntry, check_registration
from stepwell.engine.effects import (
    AppGone,
    AppRegistered,
    CancelTaken,
    CheckpointRefusal,
    CheckpointTaken,
    EventsAccepted,
    FunctionStarted,
    ReportTaken,
    RouteTaken,
    SignalTaken,
)
from stepwell.engine.inputs import (
    AppRemoved,
    AppSynced,
    CallReported,
    CallUnheard,
    CancelRequested,
    FunctionInvoked,
    RequestReported,
    RouteChosen,
    SignalSent,
    StepsCheckpointed,
    WorkerDetached,
    WorkerGone,
)
from stepwell.engine.rows import PutRoute
from stepwell.engine.waiting import Waiting
from stepwell.errors import LimitExceeded, StepwellError
from stepwell.server.app_book import AppBook
from stepwell.server.inbox import Sent
from stepwell.server.turns import Clock, Turns, resolver
from stepwell.server.worker_port import (
    Attached,
    AttachedApp,
    MakeCall,
    Requester,
    WorkerPort,
    attached_input,
)
from stepwell.wire.app_urls import normal_url
from stepwell.wire.events import NewEvent, seeded_event_id
from stepwell.wire.ids import EventId, RequestId, RunId, parse_ulid, ulid_text

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from stepwell.engine.routing import Routes
    from stepwell.engine.rows import Write
    from stepwell.engine.transports import Method
    from stepwell.engine.turn import EngineConfig
    from stepwell.errors import StoreError
    from stepwell.server.told import Told
    from stepwell.store.committer import Committer
    from stepwell.store.interface import Reader, Store
    from stepwell.wire.events import EventSeed
    from stepwell.wire.functions import Registration
    from stepwell.wire.ids import IdSource
    from stepwell.wire.ops import Op
    from stepwell.wire.outcomes import Outcome

__all__ = [
    "Attached",
    "CheckpointRefusal",
    "FunctionEntry",
    "MakeCall",
    "Registered",
    "Runtime",
    "Waiting",
    "WorkerPort",
]

_log = logging.getLogger(__name__)

RUNS_PER_REQUEST_MAX = 50_000
"""Runs that the events of one request may start: they are one commit."""


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A sync is in force. `modified` is false if the app had this configuration already."""

    modified: bool
    app_id: str
    sync_id: str


class WorkerLoad(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that are out: at one connection, at all of its instance, and how many may be there."""

    calls: int
    instance_calls: int
    limit: int


class Runtime:
    """One embedded partition, as the edges of the server see it.

    Args:
        store: Owned from here on; `close` closes it.
        committer: Makes writes durable.
        admit: Raises for a registration that this server does not take.
        app_book: Knows which apps cannot be called.
    """

    def __init__(
        self,
        *,
        store: Store,
        committer: Committer,
        config: EngineConfig,
        ids: IdSource,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        admit: Callable[[Registration], None] = lambda _registration: None,
        app_book: AppBook | None = None,
    ) -> None:
        self.ids = ids
        self._admit = admit
        self._app_book = app_book or AppBook()
        self._listeners: list[Callable[[], None]] = []
        self._store = store
        self._clock = clock
        self._loop = loop
        self._reader = store.reader()
        self._turns = Turns(
            store=store, committer=committer, config=config, ids=ids, clock=clock, loop=loop
        )

    def start(self) -> None:
        """Build the partition from the store and go to work."""
        self._turns.start()

    async def close(self) -> None:
        """Stop deciding, finish the commit that is out, close the store."""
        self._reader.close()
        await self._turns.close()

    @property
    def stranded(self) -> int:
        """Live runs that nothing would ever wake, at the last look. Anything but 0 is a defect."""
        return self._turns.stranded

    # --- what everyone may ask ---

    def now_ms(self) -> int:
        """The server's clock: it never goes back."""
        return self._clock.now_ms()

    def reader(self) -> Reader:
        """A new reader of what is committed; the caller closes it."""
        return self._store.reader()

    def waiting(self, run_id: RunId, function_no: int) -> Waiting | None:
        """Why a run does not go on just now; None if it is over, or a worker is at it."""
        state = self._reader.live_state(run_id)
        waiting = None if state is None else self._turns.partition.waiting(function_no, state)
        entry = self.catalog.by_no(function_no)
        if waiting is None or waiting.reason != "retry" or entry is None:
            return waiting
        trouble = None if entry.http_url is None else self._app_book.absent(entry.app_name)
        if trouble is None:
            return waiting
        return msgspec.structs.replace(waiting, text=f"{waiting.text}; {trouble.text}")

    def told(self, event_id: EventId) -> Told:
        """Which runs went on with an event, or were cancelled by it, if it was one of the last."""
        told = self._turns.told.of(event_id)
        if self._turns.partition.errands.seeks(event_id):
            return msgspec.structs.replace(told, is_pending=True)
        return told

    @property
    def catalog(self) -> Catalog:
        """Apps and functions."""
        return self._turns.partition.catalog

    # --- inputs ---

    async def receive_events(self, events: Sequence[NewEvent], seed: EventSeed | None) -> list[str]:
        """Store events and start what they trigger; durable on return.

        Returns:
            Their internal ids, in order.
        Raises:
            StoreError: Nothing was stored.
            LimitExceeded: 503 `overloaded`, or 413 `runs_too_many`; nothing was stored.
        """
        future: asyncio.Future[Sequence[EventId]] = self._loop.create_future()
        self.submit_events(events, seed, resolver(future))
        return [ulid_text(event_id) for event_id in await future]

    def submit_events(
        self,
        events: Sequence[NewEvent],
        seed: EventSeed | None,
        done: Callable[[Sequence[EventId], StepwellError | None], None],
    ) -> None:
        """Like `receive_events`, with a callback, which gets the ids as bytes.

        It is called once, maybe before this returns; not at all if this raises, and then nothing
        was stored.
        """
        self._check_runs(events)
        size = sum([len(event.data) + len(event.user or b"") for event in events])
        self._turns.check_room(size)
        now_ms = self.now_ms()
        if seed is None:
            ids = tuple([EventId(self.ids.ulid(now_ms)) for _ in events])
        else:
            ids = tuple([EventId(seeded_event_id(seed, n)) for n in range(1, len(events) + 1)])

        def answer(accepted: Any, error: StepwellError | None) -> None:
            if error is not None:
                done((), error)
                return
            assert isinstance(accepted, EventsAccepted), "events are answered with their ids"
            done(accepted.ids, None)

        ticket = self._turns.new_ticket(answer)
        if ticket is not None:
            seeded = seed is not None
            self._turns.put(Sent(ticket=ticket, events=events, ids=ids, seeded=seeded, size=size))

    async def register(self, registration: Registration) -> Registered:
        """Put a sync in force; durable on return. Raises like `receive_events`.

        Raises:
            WireError: An expression or a schedule of a function means nothing, or the app's SDK is
                not taken here.
        """
        check_registration(registration)
        self._admit(registration)
        sync_id = str(uuid.UUID(bytes=self.ids.ulid(self.now_ms())))
        done = await self._turns.ask(
            lambda ticket: AppSynced(ticket=ticket, registration=registration, sync_id=sync_id)
        )
        assert isinstance(done, AppRegistered), "a sync is answered with its ids"
        if done.modified:
            self._warn_of_disagreement(registration)
            # A worker may have been here with a function before it was registered.
            for worker in self._turns.attached.values():
                self._turns.put(attached_input(worker))
            self._catalog_changed()
        if registration.method == "serve":
            await self._remove_former(registration)
        return Registered(modified=done.modified, app_id=done.app_id, sync_id=done.sync_id)

    async def _remove_former(self, registration: Registration) -> None:
        """A URL serves one app: one of another name that was served there is there no more.

        At each sync, so that a crash between the two commits leaves nothing behind.
        """
        url = normal_url(registration.url)
        for app in self.catalog.transports.served():
            if app.app_name == registration.app_name or normal_url(app.url) != url:
                continue
            _log.warning(
                "the app %s is now served where the app %s was: %s is removed",
                registration.app_name,
                app.app_name,
                app.app_name,
                extra={"url": url},
            )
            await self.remove_app(app.app_name, "serve")
            self._app_book.removed(app.app_name)

    async def choose_route(
        self, app_name: str, slug: str, *, connect_percent: int | None, pin: bool = False
    ) -> bool:
        """Have a function's calls, or with an empty slug all of an app, go another way from the
        next one on; durable on return. Raises like `receive_events`.

        Args:
            connect_percent: Of its runs over Connect, 0 to 100; None for the default.
            pin: Runs stay with the version on which they begin; of an app only.
        Returns:
            Whether that is new.
        """
        route = PutRoute(app_name=app_name, slug=slug, connect_percent=connect_percent, pin=pin)
        taken = await self._turns.ask(lambda ticket: RouteChosen(ticket=ticket, route=route))
        assert isinstance(taken, RouteTaken), "a choice is answered"
        return taken.modified

    @property
    def routes(self) -> Routes:
        """What operators chose."""
        return self._turns.partition.routes

    def takers(self, app_name: str, slug: str) -> tuple[int, int]:
        """How many connections of workers take calls of a function, and how many apps over HTTP."""
        partition = self._turns.partition
        entry = partition.catalog.by_slug(app_name=app_name, slug=slug)
        serving = None if entry is None else partition.workers.serving(entry.no)
        if serving is None:
            return 0, 0
        return sum(len(each.connections) for each in serving.versions), len(serving.http)

    async def remove_app(self, app_name: str, method: Method | None = None) -> bool:
        """Take an app out of the list; durable on return. Raises like `receive_events`.

        Args:
            method: Only this way to it; if there is another, the app stays.
        Returns:
            Whether there was one of this name, with such a way to it.
        """
        gone = await self._turns.ask(
            lambda ticket: AppRemoved(ticket=ticket, app_name=app_name, method=method)
        )
        assert isinstance(gone, AppGone), "a removal is answered"
        if gone.found:
            self._catalog_changed()
        return gone.found

    def on_catalog_change(self, listener: Callable[[], None]) -> None:
        """Call this whenever an app has another configuration, or is gone."""
        self._listeners.append(listener)

    def _catalog_changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _warn_of_disagreement(self, registration: Registration) -> None:
        """The last sync of an app wins: say so when a connected worker has other functions."""
        listed = {function.slug for function in registration.functions}
        for worker in self._turns.attached.values():
            slugs = {slug for app, slug in worker.functions if app == registration.app_name}
            # What another registration lists, over HTTP, is started all the same.
            lists = self.catalog.transports.lists
            missing = [
                slug for slug in sorted(slugs - listed) if not lists(registration.app_name, slug)
            ]
            if missing:
                _log.warning(
                    "the app %s no longer has functions that a connected worker serves: events do "
                    "not start them any more; all workers of an app must have the same functions",
                    registration.app_name,
                    extra={"functions": ",".join(missing), "instance": worker.instance_id},
                )

    async def send_signal(self, signal: str, data: bytes) -> RunId | None:
        """Give a signal to the run that waits for it; durable on return. Raises like
        `receive_events`.

        Args:
            data: JSON.
        Returns:
            The run, None if none waits for it.
        """
        taken = await self._turns.ask(
            lambda ticket: SignalSent(ticket=ticket, signal=signal, data=data, found=None)
        )
        assert isinstance(taken, SignalTaken), "a signal is answered with its run"
        return taken.run_id

    async def cancel_run(self, run_id: RunId) -> bool:
        """Cancel a run; durable on return. Raises like `receive_events`.

        Returns:
            Whether it was cancelled by this: not if it was over, or is not known.
        """
        taken = await self._turns.ask(lambda ticket: CancelRequested(ticket=ticket, run_id=run_id))
        assert isinstance(taken, CancelTaken), "a cancellation is answered"
        return taken.cancelled

    async def invoke(
        self, function: str, *, data: bytes, user: bytes | None = None, v: str | None = None
    ) -> tuple[RunId, EventId] | None:
        """Start one function whatever its triggers are; durable on return. Raises like
        `receive_events`.

        Args:
            function: Its slug or id.
            data: A JSON object, and so is `user`.
        Returns:
            The run and its event, None if there is no such function.
        """
        started = await self._turns.ask(
            lambda ticket: FunctionInvoked(
                ticket=ticket, function=function, data=data, user=user, v=v
            )
        )
        assert isinstance(started, FunctionStarted), "an invocation is answered with its run"
        return started.ids

    async def checkpoint(
        self,
        run_id: RunId,
        *,
        request_id: RequestId | None,
        job_no: int | None,
        generation: int | None,
        ops: Sequence[Op],
    ) -> CheckpointRefusal | None:
        """Store steps of a call that goes on; durable on return. Raises like `receive_events`.

        Returns:
            None if they are stored, else a `CheckpointRefusal`: then nothing is.
        """
        taken = await self._turns.ask(
            lambda ticket: StepsCheckpointed(
                ticket=ticket,
                run_id=run_id,
                request_id=request_id,
                job_no=job_no,
                generation=generation,
                ops=tuple(ops),
            )
        )
        assert isinstance(taken, CheckpointTaken), "a checkpoint is answered"
        return taken.refusal

    def submit_checkpoint(
        self,
        *,
        run_id: str,
        request_id: str,
        ops: tuple[Op, ...],
        done: Callable[[CheckpointRefusal | None, StepwellError | None], None],
    ) -> None:
        """Like `checkpoint`, for a call that is known by its request id, with a callback: see
        `submit_report`."""
        try:
            fence, run = RequestId(parse_ulid(request_id)), RunId(parse_ulid(run_id))
        except StepwellError:
            done("call_stale", None)  # no call of ours
            return
        self._turns.partition.ack(fence)

        def answer(result: Any, error: StepwellError | None) -> None:
            done(result.refusal if isinstance(result, CheckpointTaken) else None, error)

        ticket = self._turns.new_ticket(answer)
        if ticket is not None:
            self._turns.put(
                StepsCheckpointed(
                    ticket=ticket,
                    run_id=run,
                    request_id=fence,
                    job_no=None,
                    generation=None,
                    ops=ops,
                )
            )

    def record(self, writes: Sequence[Write], done: Callable[[StoreError | None], None]) -> None:
        """Store rows that say nothing of runs: `done` hears when they are durable, or why not.

        They are a commit of their own, which waits for the one that is out.
        """
        self._turns.record(writes, done)

    def load(self, connection_id: str, instance_id: str) -> WorkerLoad:
        """What a worker has to do just now."""
        calls, instance_calls, limit = self._turns.partition.load_of(connection_id, instance_id)
        return WorkerLoad(calls=calls, instance_calls=instance_calls, limit=limit)

    def requests_go_to(self, requester: Requester | None) -> None:
        """Who makes the requests that steps ask of the server."""
        self._turns.requests_go_to(requester)

    def renew_lease(self, request_id: RequestId) -> None:
        """The server itself is still at this call. One that is over is ignored."""
        self._turns.partition.leases.renew(request_id, self._turns.now_ms())

    def request_reported(self, report: RequestReported) -> None:
        """What came of a request that the server made for a step."""
        self._turns.put(report)

    async def report(self, *, request_id: str, outcome: Outcome) -> bool:
        """Apply a call's outcome; durable on return. Raises like `receive_events`.

        Returns:
            Whether the call was the current one of its job. If not, nothing changed; it may be
            acknowledged all the same.
        """
        future: asyncio.Future[bool] = self._loop.create_future()
        self.submit_report(request_id=request_id, outcome=outcome, done=resolver(future))
        return await future

    def submit_report(
        self,
        *,
        request_id: str,
        outcome: Outcome,
        done: Callable[[bool, StepwellError | None], None],
    ) -> None:
        """Like `report`, with a callback: it is called before the calls of the same commit are
        flushed to their connections, so that its answer can leave with them."""
        try:
            fence = RequestId(parse_ulid(request_id))
        except StepwellError:
            done(False, None)  # no call of ours
            return
        self._turns.partition.ack(fence)  # should it have to come again, its worker has the call

        def answer(result: Any, error: StepwellError | None) -> None:
            done(error is None and isinstance(result, ReportTaken) and result.accepted, error)

        ticket = self._turns.new_ticket(answer)
        if ticket is not None:
            self._turns.put(CallReported(ticket=ticket, request_id=fence, outcome=outcome))

    def attach(self, worker: Attached | AttachedApp) -> None:
        """A connection became ready for calls."""
        self._turns.attached[worker.connection_id] = worker
        self._turns.put(attached_input(worker))

    def detach(self, connection_id: str) -> None:
        """A connection takes no more calls. Idempotent."""
        if self._turns.attached.pop(connection_id, None) is not None:
            self._turns.put(WorkerDetached(connection_id=connection_id))

    def gone(self, connection_id: str) -> None:
        """A connection is lost. Idempotent."""
        self._turns.attached.pop(connection_id, None)
        self._turns.put(WorkerGone(connection_id=connection_id))

    def acked(self, *, connection_id: str, request_id: str) -> None:
        """A worker took a call. One that is not known is ignored."""
        del connection_id  # a call is acknowledged by whoever has it
        try:
            fence = RequestId(parse_ulid(request_id))
        except StepwellError:
            return
        # Soft state, so it needs no turn; and it must not come after a loss of the connection.
        self._turns.partition.ack(fence)

    def unheard(self, *, connection_id: str, request_id: str) -> None:
        """A worker was given a call and will not do it. One that is not known is ignored."""
        try:
            fence = RequestId(parse_ulid(request_id))
        except StepwellError:
            return
        self._turns.put(CallUnheard(connection_id=connection_id, request_id=fence))

    def extend_lease(self, *, connection_id: str, request_id: str, lease_id: bytes) -> str | None:
        """Let a call go on; returns the id of the new lease, None if the lease is lost."""
        try:
            fence = RequestId(parse_ulid(request_id))
        except StepwellError:
            return None
        new_id = self._turns.partition.extend_lease(
            connection_id=connection_id,
            request_id=fence,
            lease_id=lease_id,
            now_ms=self._turns.now_ms(),
        )
        return None if new_id is None else ulid_text(new_id)

    def _check_runs(self, events: Sequence[NewEvent]) -> None:
        if len(events) * self.catalog.startable <= RUNS_PER_REQUEST_MAX:
            return
        now_ms = self.now_ms()
        runs = sum(self._turns.partition.starts(event, now_ms) for event in events)
        if runs > RUNS_PER_REQUEST_MAX:
            raise LimitExceeded(
                "the events of this request start too many runs",
                code="runs_too_many",
                limit=RUNS_PER_REQUEST_MAX,
                seen=runs,
                hint="send them in several requests",
            )
