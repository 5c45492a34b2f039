"""The turns of the partition: inputs gather, are decided on, committed together, and then told.

While a commit is on disk, inputs gather; then all of them are decided on in one turn and committed
together. Nothing is decided while a commit is out, so the partition never is more than one commit
ahead of the rows, and a failed commit costs one thing only: the partition is built again from
rows, and whoever waited for the commit hears `StoreError` and may come again.

Everything here runs on one event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from stepwell.engine.effects import Dispatch
from stepwell.engine.inputs import CallReported, RequestReported, RunPoisoned, WorkerAttached
from stepwell.engine.partition import Partition
from stepwell.engine.rows import DeleteErrand, PutQuarantine
from stepwell.errors import LimitExceeded, StepwellError, StoreError
from stepwell.server.deliveries import Deliveries
from stepwell.server.inbox import Inbox, Item, overloaded
from stepwell.server.loading import all_errands, load_partition, load_wanted
from stepwell.server.lookups import ERRANDS_PER_TURN, Lookups
from stepwell.server.payloads import Payloads
from stepwell.server.told import ToldBook
from stepwell.server.worker_port import Attached, AttachedApp, Requester, attached_input
from stepwell.wire.ids import RequestId, ulid_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.effects import Transition
    from stepwell.engine.errands import Errand
    from stepwell.engine.inputs import Input
    from stepwell.engine.rows import Write
    from stepwell.engine.turn import EngineConfig
    from stepwell.store.committer import Committer
    from stepwell.store.interface import Store
    from stepwell.wire.ids import IdSource, RunId

_log = logging.getLogger(__name__)

ISOLATED_MAX = 1_000
"""Runs that are given up in one go, if so many are broken; the others follow."""

HOUSEKEEPING_S = 30.0
DEDUPS_PER_ROUND = 5_000
"""Every round deletes what has expired, so much at a time, and looks for stranded runs."""

ERRANDS_MAX = 50_000
"""Errands that are not done. While there are more, events are refused with 503: they come in
faster than the runs that wait for them can be looked at."""

LATE_MS = 100
"""When a commit took longer, the leases of its calls begin anew as they leave: a stall of the disk
costs no lease."""

RETRY_FIRST_S = 0.05
RETRY_MAX_S = 2.0
"""How long after a failed commit the next one is tried: twice as long each time."""


class Clock(Protocol):
    """Where the time comes from."""

    def now_ms(self) -> int: ...
    def take_jump_ms(self) -> int: ...
    def advance_to(self, ms: int, /) -> None: ...


_T = TypeVar("_T")

Done: TypeAlias = "Callable[[Any, StepwellError | None], None]"
"""Hears the answer to an input, or why there is none."""


class Turns:
    """One embedded partition at work, turn by turn.

    Args:
        store: Owned from here on; `close` closes it.
        committer: Makes writes durable.
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
    ) -> None:
        self.ids = ids
        self._store = store
        self._committer = committer
        self._config = config
        self._clock = clock
        self._loop = loop
        self.partition = Partition(config, ids)
        self._reader = store.reader()
        payloads = Payloads(self._reader, self)
        self._deliveries = Deliveries(self, payloads)
        self._lookups = Lookups(store, self._reader, payloads)
        self.attached: dict[str, Attached | AttachedApp] = {}
        self.inbox = Inbox()
        self.told = ToldBook()
        self._waiting: dict[int, Done] = {}
        self._records: deque[tuple[Sequence[Write], Callable[[StoreError | None], None]]] = deque()
        self._ticket = 0
        self._turn_handle: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._house_timer: asyncio.TimerHandle | None = None
        self._worked = False
        self.stranded = 0
        """Live runs that nothing would ever wake, at the last look. Anything but 0 is a defect."""
        self._retry_s = 0.0
        self._is_behind = False
        self._stopped = False
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()

    # --- life ---

    def start(self) -> None:
        """Build the partition from the store and go to work."""
        # New ids must be greater than those that are looked for in their order.
        runs = [run.run_id for run in self._reader.runs(limit=1)]
        watches = [watch_id for *_place, watch_id in self._store.load_watched()]
        errands = [row.errand_id for row in all_errands(self._store)]
        for each in (*runs, *watches, *errands):
            self._clock.advance_to(ulid_ms(each) + 1)
        self._build()
        self._keep_house()
        self._schedule()

    async def close(self) -> None:
        """Stop deciding, finish the commit that is out, close the store."""
        self._stopped = True
        for handle in (self._turn_handle, self._timer, self._house_timer):
            if handle is not None:
                handle.cancel()
        await self._idle.wait()
        self._committer.close()
        while self._records:
            self._records.popleft()[1](_stopping())
        for ticket in list(self._waiting):
            self.answer(ticket, None, _stopping())
        self._reader.close()
        self._store.close()

    # --- asked by the runtime ---

    def requests_go_to(self, requester: Requester | None) -> None:
        """Who makes the requests of steps."""
        self._deliveries.requester = requester

    async def ask(self, make: Callable[[int], Item]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        ticket = self.new_ticket(resolver(future))
        if ticket is not None:
            self.put(make(ticket))
        return await future

    def now_ms(self) -> int:
        """The time for whoever changes leases: a clock that was set forward has moved them all,
        so that a lease that begins or is extended now stands behind those that end before it."""
        now_ms = self._clock.now_ms()
        jumped_ms = self._clock.take_jump_ms()
        if jumped_ms:
            self.partition.clock_jumped(jumped_ms)
            self._timer_ms += jumped_ms  # the loop's clock has not jumped: that is when it fires
        return now_ms

    def new_ticket(self, done: Done) -> int | None:
        """A ticket whose answer goes to `done`; None if `done` was told that there is none."""
        if self._stopped:
            done(None, _stopping())
            return None
        try:
            self.inbox.check_room()
        except LimitExceeded as error:
            done(None, error)
            return None
        self._ticket += 1
        self._waiting[self._ticket] = done
        return self._ticket

    def check_room(self, size: int) -> None:
        """Ask for room for events of so many bytes.

        Raises:
            LimitExceeded: 503 `overloaded`: too much is still to be stored, or to be looked at.
        """
        self.inbox.check_room(size)
        if len(self.partition.errands) >= ERRANDS_MAX:
            raise overloaded(ERRANDS_MAX, len(self.partition.errands) + 1)

    def record(self, writes: Sequence[Write], done: Callable[[StoreError | None], None]) -> None:
        """Store rows that are no partition's, in a commit of their own between two turns.

        A failure costs the rows and nothing else. `done` is called once, maybe at once.
        """
        if self._stopped:
            done(_stopping())
            return
        self._records.append((writes, done))
        self._schedule()

    def put(self, item: Item) -> None:
        self.inbox.put(item)
        if self._turn_handle is None:
            self._schedule()

    def _schedule(self) -> None:
        """Have a turn as soon as the loop has read what else has arrived."""
        if self._turn_handle is not None or self._stopped or self._committer.busy:
            return
        if self._retry_s:
            self._turn_handle = self._loop.call_later(self._retry_s, self._turn)
        else:
            self._turn_handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_handle = None
        if self._committer.busy:
            return  # housekeeping came first; its end schedules the turn again
        if self._records:
            self._commit_records()
            return  # what has come in follows at once
        now_ms = self.now_ms()
        items = self.inbox.take_turn()
        try:
            if self._is_behind:
                self._build()
                items = [*self._known_workers(), *items]
            load_wanted(self._store, self.partition, now_ms)
            inputs = self._lookups.inputs(self.partition, items, now_ms)
            if self.partition.errands:
                errands = self._lookups.errands(self.partition, ERRANDS_PER_TURN, now_ms)
                self.told.begin(errands)
                inputs += errands
        except StoreError as error:
            self._failed(items, error)
            return
        except Exception:
            _log.exception("cannot prepare a turn; going on one input at a time")
            self._isolate(items, now_ms)
            return
        try:
            transition = self.partition.step(inputs, now_ms)
        except Exception:
            _log.exception("the engine failed on a batch; going on one input at a time")
            self._isolate(items, now_ms)
            return
        self._commit(transition, items, now_ms)

    def _commit(self, transition: Transition, items: Sequence[Item], begun_ms: int) -> None:
        if not transition.writes:
            self._deliveries.carry_out(transition)
            self._settle()
            return
        self._idle.clear()
        self._worked = True

        def done(error: StoreError | None) -> None:
            self._idle.set()
            if error is None:
                self._retry_s = 0.0
                now_ms = self.now_ms()
                if now_ms - begun_ms > LATE_MS:
                    calls = [each for each in transition.effects if isinstance(each, Dispatch)]
                    self.partition.calls_leave((call.request_id for call in calls), now_ms)
                self.told.committed(transition.writes)
                self._deliveries.remember(transition)
                self._deliveries.carry_out(transition)
                self._settle()
            elif error.code == "internal_error":  # the rows break a rule: find whose they are
                self._isolate(items, self.now_ms())
            else:
                self._failed(items, error)

        try:
            self._committer.submit(transition.writes, done)
        except Exception:
            _log.exception("cannot submit a commit")
            self._idle.set()
            self._failed(items, StoreError("the server failed", code="internal_error"))

    def _commit_records(self) -> None:
        writes, tell = self._records.popleft()
        self._idle.clear()
        self._worked = True

        def done(error: StoreError | None) -> None:
            self._idle.set()
            tell(error)
            self._settle()

        try:
            self._committer.submit(writes, done)
        except Exception:
            _log.exception("cannot submit a commit")
            done(StoreError("the server failed", code="internal_error"))

    def _settle(self) -> None:
        """After a turn: have the next one if there is something to do, else set the timer."""
        if self._stopped:
            return
        if (
            self.inbox
            or self._records
            or self._is_behind
            or self.partition.errands
            or self.partition.wanted_queues()
        ):
            self._schedule()
            return
        wakeup_ms = self.partition.next_wakeup_ms()
        if self._timer is not None:
            # One that fires too early finds nothing due and is set anew. Most turns only move
            # the end of some lease: they leave the timer alone.
            if self._timer_ms <= wakeup_ms:
                return
            self._timer.cancel()
        self._timer_ms = wakeup_ms
        delay_s = max(0, wakeup_ms - self._clock.now_ms()) / 1000
        self._timer = self._loop.call_later(delay_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._schedule()

    def _keep_house(self) -> None:
        """Now and then: look for stranded runs, delete what expired, let the store tidy up."""
        delay_s = HOUSEKEEPING_S
        try:
            if self._committer.busy:
                delay_s = 1.0
            else:
                self.stranded = self._store.count_stranded()
                if self.stranded:
                    _log.error("runs are stranded", extra={"count": self.stranded})
                deleted = self._store.delete_expired_dedups(
                    now_ms=self._clock.now_ms(), limit=DEDUPS_PER_ROUND
                )
                if deleted == DEDUPS_PER_ROUND:
                    delay_s = 0.1
                elif not self._worked:
                    self._tidy()
                self._worked = False
        except StoreError as error:
            _log.warning("cannot keep house: %s", error, extra={"code": error.code})
        self._house_timer = self._loop.call_later(delay_s, self._keep_house)
        self._schedule()  # should the clock have jumped, what is due is due now

    def _tidy(self) -> None:
        self._idle.clear()

        def done(error: StoreError | None) -> None:
            self._idle.set()
            if error is not None:
                _log.warning("cannot tidy the store: %s", error, extra={"code": error.code})
            self._settle()

        self._committer.idle(done)

    def _failed(self, items: Sequence[Item], error: StoreError) -> None:
        """A commit failed: memory is ahead of the rows. Build it again and tell who waited."""
        self._retry_s = min(max(RETRY_FIRST_S, 2 * self._retry_s), RETRY_MAX_S)
        _log.error("not committed: %s", error, extra={"code": error.code, "retry_s": self._retry_s})
        self._is_behind = True
        self.told.failed()
        for item in items:
            ticket = getattr(item, "ticket", None)
            if ticket is not None:
                self.answer(ticket, None, error)
        # Nobody waits for the answer to these, so nobody would come again with what came of a
        # request: it would be made once more.
        self.inbox.put_first([item for item in items if isinstance(item, RequestReported)])
        self._schedule()

    def _build(self) -> None:
        """A partition from rows."""
        partition = Partition(self._config, self.ids)
        now_ms = self.now_ms()
        load_partition(self._store, partition, now_ms)
        partition.take_over(self.partition, self.attached)
        self.partition = partition
        self._is_behind = False

    def _known_workers(self) -> list[WorkerAttached]:
        """What a partition that was built anew must hear first."""
        return [attached_input(worker) for worker in self.attached.values()]

    def _isolate(self, items: Sequence[Item], now_ms: int) -> None:
        """Something makes the engine raise: find it, and let the rest through.

        Each input is decided on and committed by itself, on this thread, then what is due. It is
        slow, and it never happens but for a defect of ours. What the store knows of events is
        looked up anew for each: it may know more by then, or less than the whole batch expected.
        """
        todo: list[Item] = [*self._known_workers(), *items]
        self.told.failed()
        try:
            self._build()
            while todo:
                self._do_alone(todo[0], now_ms)
                del todo[0]
            while self.partition.errands:
                self._do_errand_alone(now_ms)
            for _ in range(ISOLATED_MAX):
                if self._step_alone([], now_ms):
                    break
        except Exception as error:
            if not isinstance(error, StoreError):
                _log.exception("cannot go on one input at a time")
                error = StoreError("the server failed", code="internal_error")
            self._failed(todo, error)
            return
        self._schedule()

    def _do_alone(self, item: Item, now_ms: int) -> None:
        """Look up what one input needs, and decide on it; one that cannot be is refused."""
        try:
            inputs = self._lookups.inputs(self.partition, [item], now_ms)
        except StoreError:
            raise
        except Exception:
            _log.exception("cannot look up what an input needs")
            if isinstance(item, CallReported):
                run = self.partition.run_of(item.request_id)
                self.partition.at_work = None if run is None else run.run_id
            self._quarantine([item], now_ms)
            return
        self._step_alone(inputs, now_ms)

    def _do_errand_alone(self, now_ms: int) -> None:
        """Do the next errand; one that cannot be done is given up."""
        ((errand_id, errand),) = self.partition.errands.first(1)
        try:
            inputs = self._lookups.errands(self.partition, 1, now_ms)
            done = self._step_alone(inputs, now_ms)
        except StoreError:
            raise
        except Exception:
            _log.exception("cannot look up what an errand needs")
            self._quarantine([errand], now_ms)
            done = False
        if not done:
            self._store.commit([DeleteErrand(errand_id=errand_id)])
            self._build()

    def _step_alone(self, batch: list[Input], now_ms: int) -> bool:
        """Decide on one input, or on what is due; False if its run had to be given up."""
        try:
            transition = self.partition.step(batch, now_ms, inputs_only=bool(batch))
            self._store.commit(transition.writes)
        except StoreError:
            raise
        except Exception:
            _log.exception("the engine failed on one input")
            self._quarantine(batch, now_ms)
            return False
        self._deliveries.remember(transition)
        self._deliveries.carry_out(transition)
        return True

    def _quarantine(self, batch: Sequence[Item | Errand], now_ms: int) -> None:
        """Refuse an input that the engine cannot process, and fail its run."""
        run_id: RunId | None = self.partition.at_work
        row = PutQuarantine(
            at_ms=now_ms,
            run_id=run_id,
            input_repr=repr(batch)[:10_000],
            traceback=traceback.format_exc()[:20_000],
        )
        for item in batch:
            ticket = getattr(item, "ticket", None)
            if ticket is not None:
                error = StepwellError("the engine failed on this input; it was kept for inspection")
                self.answer(ticket, None, error)
        if not batch and run_id is None:
            raise AssertionError("what is due cannot be decided on, and names no run")
        self._build()
        self.inbox.put_first(self._known_workers())
        self._store.commit([row])
        if run_id is not None:
            self.partition.load(self._store.load_runs([run_id]), now_ms)
            poisoned = RunPoisoned(run_id=run_id, message=f"quarantined at {now_ms}")
            transition = self.partition.step([poisoned], now_ms, inputs_only=True)
            self._store.commit(transition.writes)
            self._deliveries.remember(transition)
            self._deliveries.carry_out(transition)

    # --- asked by deliveries ---

    def by_no(self, no: int, /) -> FunctionEntry | None:
        """The function with this number, of whichever partition is current."""
        return self.partition.catalog.by_no(no)

    def worker(self, connection_id: str, /) -> Attached | AttachedApp | None:
        """A connection that takes calls."""
        return self.attached.get(connection_id)

    def is_out(self, request_id: RequestId, /) -> bool:
        """Whether a call is the current one of its job."""
        return self.partition.is_out(request_id)

    def answer(self, ticket: int, result: Any, error: StepwellError | None, /) -> None:
        """Give an input's answer to whoever waits for it; the first one counts."""
        done = self._waiting.pop(ticket, None)
        if done is not None:
            done(result, error)


def _stopping() -> StoreError:
    return StoreError("the server is stopping", code="server_stopping")


def resolver(future: asyncio.Future[_T]) -> Callable[[_T, StepwellError | None], None]:
    """A callback that gives the future its result, or its error."""

    def done(result: _T, error: StepwellError | None) -> None:
        if future.done():
            return  # whoever waited was cancelled
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    return done
