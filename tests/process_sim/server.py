"""The server of a simulation: the real one, in one process after the other, on one disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stepwell.errors import Retryable
from stepwell.server.app import Server
from stepwell.store.committer import Committer
from stepwell.store.memory import MemoryStore
from tests.process_sim.conductor import Died, Process
from tests.process_sim.invariants import Committed

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence
    from random import Random

    from stepwell.engine.rows import Write
    from stepwell.server.settings import Settings
    from stepwell.server.turns import Turns
    from stepwell.store.committer import _Job
    from stepwell.store.interface import Store
    from tests.process_sim.conductor import Conductor

API_URL = "http://127.0.0.1:8288"

BEFORE = "server crash before a commit"
AFTER = "server crash after a commit"
FAILED = "failed commit"
SLOW = "slow commit"


class Disk(MemoryStore):
    """What a server leaves behind when it dies: exactly what was committed.

    Attributes:
        next_fault: What befalls the next commit.
        on_commit: Told of each commit.
        on_death: Called when a server dies of it.
        slow_until_s: Until when commits take time.
    """

    def __init__(self, conductor: Conductor, random: Random, count: Counter[str]) -> None:
        super().__init__()
        self.next_fault: str | None = None
        self.slow_until_s = 0.0
        self.committed = Committed()
        self.process: Process | None = None
        self.on_commit: Callable[[Sequence[Write]], None] = lambda _writes: None
        self.on_death: Callable[[], None] = lambda: None
        self._conductor = conductor
        self._random = random
        self._count = count

    def commit(self, writes: Sequence[Write]) -> None:
        fault, self.next_fault = self.next_fault, None
        if fault is not None:
            self._count[fault] += 1
        if fault == FAILED:
            raise Retryable("the disk is busy")
        if fault == BEFORE:
            self._die()
        super().commit(writes)
        self.committed.take(writes)
        self.on_commit(writes)
        if fault == AFTER:
            self._die()

    def delay_s(self) -> float:
        """How long the next commit takes; 0 if it is done where it is asked for."""
        if self._conductor.clock.now_s >= self.slow_until_s:
            return 0.0
        self._count[SLOW] += 1
        return self._random.choice((0.004, 0.03, 0.2, 1.5))

    def _die(self) -> None:
        assert self.process is not None, "somebody commits"
        self._conductor.kill(self.process)
        self.on_death()
        raise Died


class DiskCommitter(Committer):
    """The real one, on a disk that takes its time: then the outcome comes as from its thread."""

    def __init__(self, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(disk, loop, clock=loop.time)
        self._disk = disk

    def _start(self, job: _Job) -> None:
        delay_s = self._disk.delay_s()
        if not delay_s:
            super()._start(job)
            return
        assert not self._busy, "one commit at a time"
        self._busy = True
        self._loop.call_later(delay_s, self._land, job)

    def _land(self, job: _Job) -> None:
        self._finish(self._carry_out(job, in_thread=True))


class SimServer:
    """One life after the other.

    Attributes:
        current: The server of the present life, while it is open.
    """

    def __init__(self, conductor: Conductor, disk: Disk, settings: Settings) -> None:
        self.settings = settings
        self.disk = disk
        self.current: Server | None = None
        self.lives = 0
        self._conductor = conductor
        self._process: Process | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def is_up(self) -> bool:
        """Whether there is a process, in whatever state."""
        return self._process is not None and self._process.is_alive

    @property
    def calls_out(self) -> int:
        """How many calls workers have."""
        turns = self._turns
        return 0 if turns is None else len(turns.partition.leases)

    @property
    def attached(self) -> set[str]:
        """The connections that get calls."""
        turns = self._turns
        return set() if turns is None else set(turns.attached)

    @property
    def _turns(self) -> Turns | None:
        gateway = self.current._gateway if self.current is not None else None
        return None if gateway is None else gateway.runtime._turns

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping is not None and self._stopping.is_set()

    def start(self) -> None:
        """A process starts."""
        self._stopping = None
        self.lives += 1
        process = self._process = self._conductor.process(f"server-{self.lives}")
        self.disk.process = process
        process.start(process.thread("main"), self._serve(process))

    def crash(self, *, silently: bool) -> None:
        """The process dies between two turns of its loop."""
        if self._process is not None:
            self._conductor.kill(self._process, silently=silently)
        self.current = None

    def stop(self) -> None:
        """As on SIGTERM: drain, then end."""
        stopping, process = self._stopping, self._process
        if stopping is not None and process is not None and self.is_up:
            process.loops[0].call_soon(stopping.set)

    async def _serve(self, process: Process) -> None:
        stopping = self._stopping = asyncio.Event()
        server = Server(
            self.settings,
            open_store=lambda _settings: self.disk,
            make_committer=self._committer,
        )
        async with server:
            self.current = server
            await stopping.wait()
            await server.stop(drain=True)
        self.current = None
        self._conductor.end(process)

    def _committer(self, _store: Store, loop: asyncio.AbstractEventLoop) -> Committer:
        return DiskCommitter(self.disk, loop)
