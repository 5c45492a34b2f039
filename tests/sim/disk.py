"""The disk of a simulation: it keeps what was committed, takes its time, fails, and loses power.

Commits come from the real committer: on the loop, which then stands still for as long as the disk
takes, or from its thread. The thread is a real one, and it is held here while the world goes on; so
only one of the two ever runs, and a seed replays byte for byte.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from stepwell.errors import Retryable, StoreError
from stepwell.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from stepwell.engine.rows import PutApp, PutErrand, PutFunction, RunImage, Write
    from stepwell.store.committer import Committer
    from stepwell.wire.ids import EventId, RunId
    from tests.sim.loop import SimLoop
    from tests.sim.world import World

HANDOVER_S = 10.0
"""A thread that takes longer to come or to go hangs."""


class Crash(BaseException):
    """The process dies here. No exception of Python, so that nothing in it stands in the way."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Disk(MemoryStore):
    """One disk for all processes of a world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._main = threading.get_ident()
        self._doubtful: Sequence[Write] | None = None
        # Held in the thread:
        self._writes: Sequence[Write] | None = None
        self._came = threading.Event()
        self._may_go = threading.Event()
        self._refusal: StoreError | None = None
        self._applied = False
        self.at_work = False
        """Whether a commit is held in the committer's thread."""
        self.out = False
        """The same, until the loop has heard of it."""

    # --- as the server sees it ---

    def commit(self, writes: Sequence[Write]) -> None:
        if threading.get_ident() == self._main:
            self._commit_on_loop(writes)
        else:
            self._hold(writes)
            super().commit(writes)
            self._applied = True

    def idle(self) -> None:
        if threading.get_ident() == self._main:
            self._world.stall(self._world.disk_ms())
        else:
            self._hold(None)

    def load_catalog(self) -> tuple[list[PutApp], list[PutFunction]]:
        self._read()
        return super().load_catalog()

    def scan_queued(self, function_no: int, **place: Any) -> list[RunImage]:
        self._read()
        return super().scan_queued(function_no, **place)

    def scan_due(self, **place: Any) -> list[RunImage]:
        self._read()
        return super().scan_due(**place)

    def known_events(self, event_ids: Collection[EventId]) -> set[EventId]:
        self._read()
        return super().known_events(event_ids)

    def known_dedups(
        self, keys: Collection[tuple[int, str]], *, now_ms: int
    ) -> dict[tuple[int, str], RunId]:
        self._read()
        return super().known_dedups(keys, now_ms=now_ms)

    def load_watched(self) -> list[tuple[str, str, int, bytes]]:
        self._read()
        return super().load_watched()

    def find_watches(self, *key: Any, **page: Any) -> list[tuple[bytes, RunId]]:
        self._read()
        return super().find_watches(*key, **page)

    def scan_errands(self, *, after: bytes, limit: int) -> list[PutErrand]:
        self._read()
        return super().scan_errands(after=after, limit=limit)

    # --- commits on the loop ---

    def _commit_on_loop(self, writes: Sequence[Write]) -> None:
        world = self._world
        fault = world.commit_fault()
        world.stall(world.disk_ms())
        world.log(f"  commit of {len(writes)} rows on the loop: {fault or 'stored'}")
        if not writes:
            return  # one by one, an input may change nothing
        if fault == "crash before commit":
            raise Crash(fault)
        refusal = self._judge(writes, fault)
        if refusal is not None:
            raise refusal
        super().commit(writes)
        world.count["commit on the loop"] += 1
        world.server.stored(writes)
        if fault == "crash after commit":
            raise Crash(fault)
        if fault == "crash amid effects":
            world.server.crash_amid_effects()

    def _judge(self, writes: Sequence[Write], fault: str | None) -> StoreError | None:
        self._doubtful = None
        if fault is not None and fault.startswith("commit failed"):
            self._world.server.refused()
        if fault == "commit failed":
            return Retryable("no space left on the simulated disk")
        if fault == "commit failed in its last act":
            self._doubtful = writes
            self._world.may_lose_power()
            return Retryable("the simulated disk failed to sync")
        return None

    def _read(self) -> None:
        world = self._world
        if world.read_fails():
            world.log("  a read failed")
            raise Retryable("the simulated disk cannot be read")

    # --- commits in the thread ---

    def _hold(self, writes: Sequence[Write] | None) -> None:
        """In the thread: wait until the world says how it went."""
        self._writes = writes
        self._came.set()
        if not self._may_go.wait(HANDOVER_S):
            raise AssertionError("15: the world forgot a commit")
        self._may_go.clear()
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal

    def expect(self, loop: SimLoop, committer: Committer) -> None:
        """The committer is busy in its thread: decide how long it takes and what befalls it."""
        assert self._came.wait(HANDOVER_S), "15: the committer's thread does not come"
        self._came.clear()
        self.at_work = self.out = True
        world, writes = self._world, self._writes
        takes_ms = world.disk_ms()
        fault = None if writes is None else world.commit_fault()
        world.log(f"  commit in the thread takes {takes_ms} ms: {fault or 'well'}")
        life = world.server.life

        def ends() -> None:
            if world.server.life == life:
                self._end(loop, committer, writes, fault)

        world.later(takes_ms, "the disk is done", ends)

    def _end(
        self,
        loop: SimLoop,
        committer: Committer,
        writes: Sequence[Write] | None,
        fault: str | None,
    ) -> None:
        world = self._world
        if fault == "crash before commit":
            world.crash(fault)
            return
        if writes is not None:
            self._refusal = self._judge(writes, fault)
        self._applied = False
        self._release(loop)
        if writes is not None and self._applied:
            world.count["commit in the thread"] += 1
            world.server.stored(writes)
            if fault == "crash after commit":
                world.crash(fault)
                return
            if fault == "crash amid effects":
                world.server.crash_amid_effects()
        loop.take_from_threads(world.soon_ms(1), self._told)

    def _release(self, loop: SimLoop) -> None:
        self.at_work = False
        self._may_go.set()
        loop.wait_for_thread(HANDOVER_S)

    def _told(self) -> None:
        self.out = False

    def lose_power(self) -> None:
        """The process dies: what is held was not stored; what was doubtful is found stored."""
        self.out = False
        if self.at_work:
            self.at_work = False
            self._refusal = StoreError("the process is dead", code="process_dead")
            self._may_go.set()
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is not None:
            self._world.count["found stored after all"] += 1
            super().commit(doubtful)
            self._world.server.stored(doubtful)
