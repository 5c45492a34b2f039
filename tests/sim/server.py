"""The server of a simulation: turns, commits that take time, crashes, and building anew from rows.

It does what the runtime does, in the same order: inputs gather while a commit is out, nothing is
decided meanwhile, effects leave after the commit. Acknowledgements and lease extensions reach the
partition at once. The store and what loads from it are the real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from stepwell.engine.effects import Dispatch, EventsAccepted, Reply, ReportTaken
from stepwell.engine.inputs import (
    ArrivedEvent,
    CallReported,
    EventsReceived,
    WorkerAttached,
    WorkerDetached,
    WorkerGone,
)
from stepwell.engine.partition import Partition
from stepwell.engine.rows import HistoryKind, PutHistory, PutStep
from stepwell.server import loading
from stepwell.store.memory import MemoryStore
from stepwell.wire.events import NewEvent
from stepwell.wire.ids import EventId
from tests.sim.invariants import (
    Committed,
    check_call,
    check_limits,
    check_memory,
    check_runs,
)
from tests.unit.engine.scenario import CountingIds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepwell.engine.effects import Transition
    from stepwell.engine.inputs import AppSynced, Input
    from stepwell.engine.turn import EngineConfig
    from stepwell.wire.ids import RequestId
    from stepwell.wire.outcomes import Outcome
    from tests.sim.world import World

RETRY_MS = 50
"""After a commit that failed."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Events that wait for their turn."""

    ticket: int
    events: tuple[NewEvent, ...]
    ids: tuple[EventId, ...]


Arrival: TypeAlias = "Input | Sent"
Answer: TypeAlias = "Callable[[bool | None], None]"
"""True or false: the answer. None: not stored, or nobody there; come again."""


class Server:
    """One process after the other on one disk."""

    def __init__(self, world: World, config: EngineConfig) -> None:
        self._world = world
        self._config = config
        self.ids = CountingIds()
        self.store = MemoryStore()
        self.reader = self.store.reader()
        self.committed = Committed()
        self.up = False
        self.life = 0
        """Counts starts and crashes: what belongs to an earlier life does not arrive."""
        self.commits = 0
        self._attached: dict[str, tuple[WorkerAttached, Callable[[Dispatch], None]]] = {}
        self._inbox: list[Arrival] = []
        self._waiting: dict[int, Answer] = {}
        self._tickets = 0
        self._busy = False
        self._turn_is_due = False
        self._wake_ms = -1
        self.partition = self._built()

    # --- life ---

    def start(self) -> None:
        """A process starts."""
        self.life += 1
        self.up = True
        self._busy = self._turn_is_due = False
        self._wake_ms = -1
        self.partition = self._built()
        self._schedule()

    def crash(self) -> None:
        """The process is gone, with all that it had in memory."""
        self.life += 1
        self.up = False
        self._attached.clear()
        self._inbox.clear()
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer(None)

    def _built(self) -> Partition:
        partition = Partition(self._config, self.ids)
        loading.load_partition(self.store, partition, self._world.now_ms)
        return partition

    # --- what peers ask ---

    def receive_events(
        self, events: Sequence[NewEvent], ids: Sequence[EventId], answer: Answer
    ) -> None:
        """A producer's request."""
        if not self.up:
            answer(None)
            return
        ticket = self._ticket(answer)
        self._put(Sent(ticket=ticket, events=tuple(events), ids=tuple(ids)))

    def register(self, make: Callable[[int], AppSynced], answer: Answer) -> None:
        """An app's sync."""
        self._put(make(self._ticket(answer)))

    def report(self, request_id: RequestId, outcome: Outcome, answer: Answer) -> None:
        """A worker's reply."""
        if not self.up:
            answer(None)
            return
        ticket = self._ticket(answer)
        self._put(CallReported(ticket=ticket, request_id=request_id, outcome=outcome))

    def attach(self, worker: WorkerAttached, deliver: Callable[[Dispatch], None]) -> None:
        """A connection is ready."""
        self._attached[worker.connection_id] = worker, deliver
        self._put(worker)

    def detach(self, connection_id: str) -> None:
        """A connection takes no more calls."""
        if self._attached.pop(connection_id, None) is not None:
            self._put(WorkerDetached(connection_id=connection_id))

    def gone(self, connection_id: str) -> None:
        """A connection was lost."""
        self._attached.pop(connection_id, None)
        self._put(WorkerGone(connection_id=connection_id))

    def ack(self, request_id: RequestId) -> None:
        """A worker took a call."""
        if self.up:
            self.partition.ack(request_id)

    def extend(self, connection_id: str, request_id: RequestId, lease_id: bytes) -> bytes | None:
        """A worker needs more time."""
        return self.partition.extend_lease(
            connection_id=connection_id,
            request_id=request_id,
            lease_id=lease_id,
            now_ms=self._world.now_ms,
        )

    # --- turns ---

    def _ticket(self, answer: Answer) -> int:
        self._tickets += 1
        self._waiting[self._tickets] = answer
        return self._tickets

    def _put(self, item: Arrival) -> None:
        if self.up:
            self._inbox.append(item)
            self._schedule()

    def _schedule(self, delay_ms: int = 0) -> None:
        if self._turn_is_due or self._busy:
            return
        self._turn_is_due = True
        self._later(delay_ms, "turn", self._turn)

    def _later(self, delay_ms: int, label: str, act: Callable[[], None]) -> None:
        life = self.life

        def unless_crashed() -> None:
            if self.life == life:
                act()

        self._world.later(delay_ms, label, unless_crashed)

    def _turn(self) -> None:
        self._turn_is_due = False
        world, partition = self._world, self.partition
        horizon_ms = partition.horizon_ms
        loading.load_wanted(self.store, partition, world.now_ms)
        world.count["horizon moved"] += partition.horizon_ms > horizon_ms
        arrived, self._inbox = self._inbox, []
        inputs = self._look_up(arrived)
        horizon_ms = partition.horizon_ms
        known = set(partition.runs)
        transition = partition.step(inputs, world.now_ms)
        world.count["horizon drawn nearer"] += partition.horizon_ms < horizon_ms
        world.count["run left memory alive"] += any(
            run_id in self.committed.live and run_id not in partition.runs for run_id in known
        )
        self._check_stale(inputs)
        if not transition.writes:
            self._carry_out(transition)
            self._settle()
            return
        world.log(f"  decided {len(transition.writes)} rows, {len(transition.effects)} effects")
        self._busy = True
        self._later(world.disk_ms(), "commit", lambda: self._commit(transition, inputs))

    def _look_up(self, arrived: Sequence[Arrival]) -> list[Input]:
        inputs: list[Input] = []
        here: set[EventId] = set()
        now_ms = self._world.now_ms
        for item in arrived:
            if not isinstance(item, Sent):
                inputs.append(item)
                continue
            known = self.store.known_events(item.ids)
            events: list[ArrivedEvent] = []
            for event_id, event in zip(item.ids, item.events, strict=True):
                seen = event_id in known or event_id in here
                here.add(event_id)
                events.append(ArrivedEvent(event_id=event_id, event=event, known=seen))
            started = self.store.known_dedups(self.partition.dedup_keys(item.events), now_ms=now_ms)
            inputs.append(EventsReceived(ticket=item.ticket, events=tuple(events), started=started))
        return inputs

    def _check_stale(self, inputs: Sequence[Input]) -> None:
        """9: a report again, after its turn, unless the next turn has something else to do."""
        if self.partition.next_wakeup_ms() <= self._world.now_ms:
            return
        for item in inputs:
            if isinstance(item, CallReported):
                again = self.partition.step([item], self._world.now_ms)
                stale = Reply(ticket=item.ticket, result=ReportTaken(accepted=False))
                assert again.effects == [stale], "9: a stale report is refused"
                assert not again.writes, "9: a stale report changes nothing"

    def _commit(self, transition: Transition, inputs: Sequence[Input]) -> None:
        world = self._world
        fault = world.commit_fault()
        if fault == "crash before commit":
            world.crash(fault)
            return
        self._busy = False
        if fault == "commit failed":
            self._failed(inputs)
            return
        self.store.commit(transition.writes)
        self.commits += 1
        changed = self.committed.take(transition.writes)
        self._tally(transition)
        check_runs(self.partition, self.store.load_runs(changed))
        if self.commits % 16 == 0:
            check_runs(self.partition, self.store.load_runs(sorted(self.committed.live)))
        check_memory(self.partition)
        check_limits(self.partition)
        assert self.store.count_stranded() == 0, "1: nothing is stranded"
        if fault == "crash after commit":
            world.crash(fault)
            return
        if fault == "crash amid effects":
            self._carry_out(transition, world.part_of(len(transition.effects)))
            world.crash(fault)
            return
        self._carry_out(transition)
        self._settle()

    def _failed(self, inputs: Sequence[Input]) -> None:
        """What the runtime does: tell who waited, build anew, attach who is connected."""
        for item in inputs:
            ticket = getattr(item, "ticket", None)
            if ticket is not None:
                self._waiting.pop(ticket)(None)
        self.partition = self._built()
        self._inbox[:0] = [worker for worker, _deliver in self._attached.values()]
        self._schedule(RETRY_MS)

    def _tally(self, transition: Transition) -> None:
        for row in transition.writes:
            if isinstance(row, PutHistory):
                self._world.count[f"history {row.kind.name}"] += 1
                lost_often = row.payload is not None and b"in a row" in row.payload
                self._world.count["third loss in a row"] += lost_often
                assert row.kind is not HistoryKind.CALL_LOST or row.payload is None
            elif isinstance(row, PutStep):
                self._world.count[f"step {row.kind.name}"] += 1

    def _carry_out(self, transition: Transition, first: int | None = None) -> None:
        for effect in transition.effects[:first]:
            match effect:
                case Dispatch():
                    check_call(self.committed, self.store, effect)
                    attached = self._attached.get(effect.connection_id)
                    if attached is not None:
                        attached[1](effect)
                case Reply(result=ReportTaken(accepted=accepted)):
                    self._waiting.pop(effect.ticket)(accepted)
                case Reply(result=EventsAccepted(ids=ids)):
                    self._waiting.pop(effect.ticket)(len(ids) > 0)
                case Reply():
                    self._waiting.pop(effect.ticket)(True)
                case _:
                    pass

    def _settle(self) -> None:
        """Have another turn, or be woken when the partition asks for it."""
        if self._inbox or self.partition.wanted_queues():
            self._schedule()
            return
        wake_ms = self.partition.next_wakeup_ms()
        if self.committed.live and wake_ms != self._wake_ms:
            self._wake_ms = wake_ms
            self._later(wake_ms - self._world.now_ms, "wake", self._woken)

    def _woken(self) -> None:
        if self._world.now_ms >= self._wake_ms:
            self._wake_ms = -1
            self._schedule()
