"""Runs one after another on each of some lanes: the next one starts when the last one ended."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from benchmarks.processes import cpu_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.plan import Workload
    from benchmarks.sides import Session

RUN_WAIT_S = 60.0
"""Nobody may need longer for one run, with 49 others in flight."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One repetition of one cell on one side.

    `runs_per_s` is of the time in which every lane had a run: what ended until the last run
    began. The end, when lanes run dry, would otherwise count against whoever has long tails.
    """

    latencies_ms: list[float]
    runs_per_s: float
    cpu_s: dict[str, float]


class ClosedLoop:
    """Drives one session; numbers its runs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._number = 0

    async def measure(self, workload: Workload, runs: int) -> Sample:
        """Warm up with a tenth as many runs, then measure.

        Latency is from the request that starts a run to the last line of its function.

        Raises:
            AnswerError: A run was not accepted.
            TimeoutError: A run did not end.
        """
        assert runs > workload.in_flight, "a rate needs a run that ended before the last one began"
        await self.drive(workload, max(workload.in_flight, runs // 10, 2))
        pids = self._session.pids
        used = {role: cpu_s(pid) for role, pid in pids.items()}
        drive = await self.drive(workload, runs)
        return Sample(
            latencies_ms=drive.latencies_ms,
            runs_per_s=drive.ended_before_last / (drive.last_begun - drive.begun),
            cpu_s={role: cpu_s(pid) - used[role] for role, pid in pids.items()},
        )

    async def drive(self, workload: Workload, runs: int) -> Drive:
        """Have runs done. Raises as `measure`."""
        numbers = iter(range(self._number, self._number + runs))
        self._number += runs
        drive = Drive(last=self._number - 1, begun=time.perf_counter())
        async with asyncio.TaskGroup() as lanes:
            for lane in range(workload.in_flight):
                lanes.create_task(self._lane(workload.name, numbers, lane, drive))
        return drive

    async def _lane(self, work: str, numbers: Iterator[int], lane: int, drive: Drive) -> None:
        session = self._session
        for number in numbers:
            ended = session.finishes.expect(number)
            begun = time.perf_counter()
            if number == drive.last:
                drive.last_begun = begun
                drive.ended_before_last = len(drive.latencies_ms)
            async with asyncio.timeout(RUN_WAIT_S):
                await session.start(work, number, lane)
                drive.latencies_ms.append((await ended - begun) * 1000)


class Drive(msgspec.Struct):
    """Some runs, as they were done. Times are `time.perf_counter`."""

    last: int
    begun: float
    last_begun: float = 0.0
    ended_before_last: int = 0
    latencies_ms: list[float] = []
