"""The server of a simulation: the real runtime, turns, committer and clock, process after process.

Only what is below and around them is simulated: the event loop, the disk, the network and the
workers' sockets. Everything that comes from outside enters through `on_loop`, as in a real
process, where the loop calls all of it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from stepwell.engine.rows import HistoryKind, PutHistory, PutQuarantine, PutStep
from stepwell.errors import StepwellError, StoreError
from stepwell.server.clock import SystemClock
from stepwell.server.ids import SystemIds
from stepwell.server.runtime import Attached, Runtime
from stepwell.store.committer import Committer
from stepwell.wire.ids import parse_ulid, ulid_text
from tests.sim.disk import Crash, Disk
from tests.sim.invariants import (
    Committed,
    check_answer,
    check_checkpoint,
    check_limits,
    check_memory,
    check_order,
    check_rows_followed,
    check_runs,
)
from tests.sim.loop import SimLoop
from tests.sim.outside import Requests
from tests.sim.port import Port
from tests.sim.routed import check_routes
from tests.sim.watched import WatchedPartition

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from stepwell.engine.inputs import RequestReported
    from stepwell.engine.rows import Write
    from stepwell.engine.turn import EngineConfig
    from stepwell.wire.events import EventSeed, NewEvent
    from stepwell.wire.functions import Registration
    from stepwell.wire.ids import EventId, IdSource, RequestId, RunId
    from stepwell.wire.ops import Op
    from stepwell.wire.outcomes import Outcome
    from tests.sim.calls import SentCall
    from tests.sim.world import World

RESTART_MS = 1_000
QUARANTINED_MAX = 4
"""A run is given up with its first input in quarantine, unless the process dies just then."""

EFFECTS_LEAVE_MS = 5

Answer: TypeAlias = "Callable[[Any], None]"
"""Gets the answer, as a rule true or false. None: not stored, or nobody there; come again."""


class Server:
    """One process after the other on one disk."""

    def __init__(self, world: World, config: EngineConfig) -> None:
        self._world = world
        self._config = config
        self.disk = Disk(world)
        self.reader = self.disk.reader()
        self.committed = Committed(config)
        self.up = False
        self.life = 0
        """Counts starts and crashes: what belongs to an earlier life does not arrive."""
        self.commits = 0
        self.partition: WatchedPartition
        self.effects: list[int] = []
        """How many orders left after each commit."""
        self._loop: SimLoop
        self._committer: Committer
        self._runtime: Runtime
        self._open: set[str] = set()
        self._asked: dict[int, tuple[Coroutine[Any, Any, Any] | None, Answer]] = {}
        self._tickets = 0
        self._quarantined: Counter[RunId | None] = Counter()
        self._unstored = 0
        self._is_ahead = False
        self._changed: dict[RunId, None] = {}
        self._unchecked = False
        self._effects_left: int | None = None
        self._horizon_ms = 0

    # --- life ---

    def start(self) -> None:
        """A process starts."""
        world = self._world
        self.life += 1
        self.committed.restart()
        self._loop = SimLoop(world, self.on_loop)
        self._committer = Committer(
            self.disk, self._loop.as_loop, clock=lambda: world.now_ms / 1000
        )
        try:
            self._runtime = Runtime(
                store=self.disk,
                committer=self._committer,
                config=self._config,
                ids=SystemIds(),
                clock=SystemClock(),
                loop=self._loop.as_loop,
            )
            self._runtime.requests_go_to(Requests(world))
            self.up = True
            self.on_loop(self._runtime.start)
        except StoreError:
            world.count["start failed"] += 1
            world.down_ms += RESTART_MS
            self.crash()
            world.later(RESTART_MS, "server starts", self.start)

    def crash(self) -> None:
        """The process is gone, with all that it had in memory."""
        self.life += 1
        self.up = False
        self._loop.dead = True
        self._open.clear()
        self._effects_left = None
        asked, self._asked = self._asked, {}
        self.disk.lose_power()
        self._committer.close()
        self._changed.clear()
        self._unchecked = False
        for coroutine, answer in asked.values():
            if coroutine is not None:
                coroutine.close()
            answer(None)

    def new_partition(self, config: EngineConfig, ids: IdSource) -> WatchedPartition:
        """What the turns build, at start and after a commit that failed."""
        self._unstored = 0
        self._is_ahead = False
        self.partition = WatchedPartition(config, ids, self._world)
        self._horizon_ms = 0
        return self.partition

    @property
    def busy(self) -> bool:
        """Whether a commit is out."""
        return self.up and self._committer.busy

    @property
    def unanswered(self) -> int:
        """How many still wait for an answer of this process."""
        return len(self._asked)

    def now_ms(self) -> int:
        """The time as the process sees it."""
        return self._runtime.now_ms()

    # --- what peers ask ---

    def receive_events(self, events: Sequence[NewEvent], seed: EventSeed, answer: Answer) -> None:
        """A producer's request."""

        if not self.up:
            answer(None)
            return
        self._note("events")
        ticket = self._ticket(None, answer)

        def done(ids: Sequence[EventId], error: StepwellError | None) -> None:
            for event_id in ids if ticket in self._asked else ():
                self.check(self._check_stored, event_id)
            self._answered(ticket, error is None, error)

        def submit() -> None:
            try:
                self._runtime.submit_events(events, seed, done)
            except StepwellError as error:
                self._answered(ticket, False, error)

        self.on_loop(submit)

    def _check_stored(self, event_id: EventId) -> None:
        known = self.reader.event(event_id)
        assert known is not None, "14: events are answered once they are stored"

    def register(self, registration: Registration, answer: Answer) -> None:
        """An app's sync."""
        self._note("sync")
        self._ask(lambda: self._runtime.register(registration), answer)

    def signal(
        self, signal: str, data: bytes, answer: Callable[[RunId | None, bool], None]
    ) -> None:
        """Somebody sends a signal; the answer is the run, and whether there was one at all."""
        self._note("signal")

        def told(taken: tuple[RunId | None] | None) -> None:
            answer(None if taken is None else taken[0], taken is not None)

        self._ask(lambda: self._runtime.send_signal(signal, data), told, lambda run_id: (run_id,))

    def cancel(self, run_id: RunId, answer: Answer) -> None:
        """Somebody cancels a run."""
        self._note("cancellation")
        self._ask(lambda: self._runtime.cancel_run(run_id), answer, bool)

    def choose_route(
        self, app_name: str, percent: int | None, *, pin: bool, answer: Answer
    ) -> None:
        """An operator chooses how an app's calls go."""
        self._note("route")
        self._ask(
            lambda: self._runtime.choose_route(app_name, "", connect_percent=percent, pin=pin),
            answer,
        )

    def checkpoint(
        self, run_id: RunId, request_id: RequestId, ops: Sequence[Op], answer: Answer
    ) -> None:
        """A worker tells steps of a call that goes on."""
        self._note("checkpoint")

        def read(refusal: str | None) -> str:
            if refusal is None:
                self.check(check_checkpoint, self.committed, run_id, ops)
            return refusal or "taken"

        self._ask(
            lambda: self._runtime.checkpoint(
                run_id, request_id=request_id, job_no=None, generation=None, ops=ops
            ),
            answer,
            read,
        )

    def request_ends(self, report: RequestReported) -> None:
        """A request that the server made for a step is over."""
        self._note("request's end")
        self.on_loop(lambda: self._runtime.request_reported(report))

    def report(self, request_id: RequestId, outcome: Outcome, answer: Answer) -> None:
        """A worker's reply."""
        if not self.up:
            answer(None)
            return
        self._note("report")
        ticket = self._ticket(None, answer)

        def done(accepted: bool, error: StepwellError | None) -> None:
            if accepted and ticket in self._asked:
                self.check(check_answer, self.committed, request_id, outcome)
            self._answered(ticket, accepted, error)

        self.on_loop(
            lambda: self._runtime.submit_report(
                request_id=ulid_text(request_id), outcome=outcome, done=done
            )
        )

    def attach(
        self,
        *,
        connection_id: str,
        instance_id: str,
        limit: int | None,
        version_ms: int,
        versions: Mapping[str, str],
        deliver: Callable[[SentCall], None],
    ) -> None:
        """A connection is ready."""
        self._note("attach")
        self._open.add(connection_id)
        worker = Attached(
            connection_id=connection_id,
            instance_id=instance_id,
            limit=limit,
            functions=self._world.functions,
            version_ms=version_ms,
            versions=versions,
            port=Port(self._world, self, connection_id, deliver),
        )
        self.on_loop(lambda: self._runtime.attach(worker))

    def detach(self, connection_id: str) -> None:
        """A connection takes no more calls."""
        if connection_id in self._open:
            self._note("detach")
            self.on_loop(lambda: self._runtime.detach(connection_id))

    def gone(self, connection_id: str) -> None:
        """A connection was lost."""
        if connection_id in self._open:
            self._note("loss")
            self._open.discard(connection_id)
            self.on_loop(lambda: self._runtime.gone(connection_id))

    def ack(self, connection_id: str, request_id: RequestId) -> None:
        """A worker took a call."""
        if connection_id in self._open:
            self._note("ack")
            text = ulid_text(request_id)
            self.on_loop(lambda: self._runtime.acked(connection_id=connection_id, request_id=text))

    def extend(
        self,
        connection_id: str,
        request_id: RequestId,
        lease_id: bytes,
        answer: Callable[[bytes | None], None],
    ) -> None:
        """A worker needs more time."""
        if connection_id not in self._open:
            return
        self._note("extension")

        def extend() -> None:
            new_id = self._runtime.extend_lease(
                connection_id=connection_id,
                request_id=ulid_text(request_id),
                lease_id=lease_id,
            )
            answer(None if new_id is None else parse_ulid(new_id))

        self.on_loop(extend)

    def _note(self, what: str) -> None:
        self._world.count[f"{what} during a commit"] += self.busy

    # --- asking ---

    def _ticket(self, coroutine: Coroutine[Any, Any, Any] | None, answer: Answer) -> int:
        self._tickets += 1
        self._asked[self._tickets] = coroutine, answer
        return self._tickets

    def _ask(
        self,
        make: Callable[[], Coroutine[Any, Any, Any]],
        answer: Answer,
        read: Callable[[Any], object] = lambda _result: True,
    ) -> None:
        """Run what a handler of a request would await; `read` makes the answer of its result."""
        if not self.up:
            answer(None)
            return
        coroutine = make()
        ticket = self._ticket(coroutine, answer)

        def go_on(_future: Any = None) -> None:
            if ticket not in self._asked:
                return
            try:
                future = coroutine.send(None)
            except StopIteration as end:
                self._answered(ticket, read(end.value), None)
            except StepwellError as error:
                self._answered(ticket, False, error)
            else:
                future._asyncio_future_blocking = False  # as a task does
                future.add_done_callback(go_on)

        self.on_loop(go_on)

    def _answered(self, ticket: int, result: object, error: StepwellError | None) -> None:
        if ticket not in self._asked:
            return  # of a process that died
        self.leaves()
        _coroutine, answer = self._asked.pop(ticket)
        if error is not None:
            self._world.count[f"refused: {error.code}"] += 1
        answer(result if error is None else None)

    # --- what happens on the loop ---

    def on_loop(self, act: Callable[[], object], *, timer: bool = False) -> None:
        self._world.count["timer during a commit"] += timer and self.busy
        try:
            act()
        except Crash as crash:
            self._world.crash(crash.how)
        except StoreError:
            raise  # of a process that cannot start
        except Exception as error:
            self.violated(f"15: the loop met {error!r}")
        self._look()

    def _look(self) -> None:
        """After everything that happens: see whether a commit is out, or check what it did."""
        if not self.up:
            return
        if self._committer.busy:
            if not self.disk.out:
                self.disk.expect(self._loop, self._committer)
            return
        # One that could not be built to the end is not at work; the next turn builds another one.
        at_work = self.partition is self._runtime._turns.partition
        if self._unchecked and self._unstored == 0 and at_work:
            self._unchecked = False
            changed, self._changed = list(self._changed), {}
            self.check(self._check_memory, changed)
            self.check(self.partition.check_stale, self.now_ms())
            self._count_windows()

    def _check_memory(self, changed: Sequence[RunId]) -> None:
        partition, live = self.partition, self.committed.live
        check_runs(partition, self.disk.load_runs([run for run in changed if run in live]))
        if self.commits % 16 == 0:
            check_runs(partition, self.disk.load_runs(sorted(live)))
        check_memory(partition)
        check_rows_followed(self.committed, partition)
        check_limits(partition)
        check_order(self.committed, partition)
        check_routes(self.committed.routes, partition)
        assert self.disk.count_stranded() == 0, "1: nothing is stranded"

    def _count_windows(self) -> None:
        count, partition = self._world.count, self.partition
        horizon_ms, self._horizon_ms = self._horizon_ms, partition.horizon_ms
        count["horizon moved"] += 0 < horizon_ms < partition.horizon_ms
        count["horizon drawn nearer"] += horizon_ms > partition.horizon_ms
        count["run left memory alive"] += any(
            run_id not in partition.runs for run_id in self.committed.live
        )
        count["instance full"] += any(
            instance.in_use == instance.limit
            for instance in partition.workers._instances.values()
            if instance.connections
        )

    # --- told by the disk ---

    def decided(self, rows: int) -> None:
        """The partition is ahead of the rows by so many."""
        if self._is_ahead:
            self.violated("4: it goes on from what was not stored")
        self._unstored += rows

    def refused(self) -> None:
        """A commit failed: what the partition decided is not on disk and never will be."""
        self._is_ahead = True

    def stored(self, writes: Sequence[Write]) -> None:
        """A commit is on disk."""
        self.commits += 1
        self.effects.append(0)
        self._unchecked = True
        quarantined = [row for row in writes if isinstance(row, PutQuarantine)]
        self._unstored -= len(writes) - len(quarantined)
        for row in quarantined:
            if "poison" in row.traceback:
                self._world.count["input in quarantine"] += 1
                self._quarantined[row.run_id] += 1
                if self._quarantined[row.run_id] > QUARANTINED_MAX:
                    self.violated("15: inputs of one run go into quarantine again and again")
            else:
                self.violated(f"15: the engine raised: {row.traceback[-300:]}")
        now_ms = self.now_ms() if self.up else None
        self.check(self._take, writes, now_ms)
        self.check(self._world.waited.take, writes, self.now_ms())
        self._tally(writes)

    def _take(self, writes: Sequence[Write], now_ms: int | None) -> None:
        self._changed.update(dict.fromkeys(self.committed.take(writes, now_ms)))

    def _tally(self, writes: Sequence[Write]) -> None:
        count = self._world.count
        for row in writes:
            if isinstance(row, PutHistory):
                count[f"history {row.kind.name}"] += 1
                self._world.log(f"  {row.kind.name} {(row.step_id or '')[:6]} {row.attempt}")
                lost_often = row.payload is not None and b"in a row" in row.payload
                count["third loss in a row"] += lost_often
                assert row.kind is not HistoryKind.CALL_LOST or row.payload is None
            elif isinstance(row, PutStep):
                count[f"step {row.kind.name}"] += 1

    # --- effects ---

    def crash_amid_effects(self) -> None:
        """The process dies when some of the orders of this commit have left."""
        self._effects_left = self._world.effects_before_crash()
        life = self.life

        def die() -> None:
            if self.life == life:
                self._world.crash("crash after effects")

        self._world.later(EFFECTS_LEAVE_MS, "dies after its effects", die)

    def leaves(self) -> None:
        """An order of the last commit is carried out."""
        if self._effects_left == 0:
            raise Crash("crash amid effects")
        if self._effects_left is not None:
            self._effects_left -= 1
        if self.effects:
            self.effects[-1] += 1

    # --- what must not be ---

    def check(self, check: Callable[..., object], *about: Any) -> None:
        """Check an invariant; nothing in the server can swallow that it does not hold."""
        try:
            check(*about)
        except AssertionError as error:
            self.violated(str(error))

    def violated(self, text: str) -> None:
        """An invariant does not hold; the first one counts."""
        if self._world.broken is None:
            self._world.broken = text

    def logged(self, record: logging.LogRecord) -> None:
        """15: the server says that something is wrong which nobody did to it."""
        if not self.up or self._world.expects(getattr(record, "code", ""), record.getMessage()):
            return
        cause = "" if record.exc_info is None else f": {record.exc_info[1]!r}"
        self.violated(f"15: the server says {record.getMessage()!r}{cause}")
