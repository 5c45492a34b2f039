"""What a server commits, commit by commit, made from a seed: for tests and benchmarks of stores."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from stepwell.engine.rows import (
    DeleteLive,
    PutEvent,
    PutLive,
    PutRun,
    PutStep,
    PutWatch,
    RunStatus,
    StepKind,
    UpdateRun,
    WatchKind,
)
from stepwell.wire.ids import EventId, RunId, hash_step_id, ulid_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepwell.engine.rows import Write

START_MS = 1_760_000_000_000
STATE = b"s" * 120
"""About as long as the engine's state of a run with one job."""


class Story:
    """Makes rows with ids and times that a server could have made.

    Args:
        seed: The same seed gives the same rows.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self.now_ms = START_MS

    def tick(self, ms: int = 1) -> int:
        self.now_ms += ms
        return self.now_ms

    def ulid(self, ms: int | None = None) -> bytes:
        return ulid_bytes(self.now_ms if ms is None else ms, self._random.randbytes(10))

    def event(
        self, *runs: RunId, name: str = "shop/order.placed", data: bytes = b'{"n":1}'
    ) -> PutEvent:
        event_id = EventId(self.ulid())
        return PutEvent(event_id=event_id, name=name, ts_ms=self.now_ms, data=data, runs=runs)

    def intake(
        self, *, function_no: int = 1, data: bytes = b"d" * 100
    ) -> tuple[RunId, list[Write]]:
        """An event arrives, its run begins and its first call is sent."""
        run_id = RunId(self.ulid())
        event = self.event(run_id, data=data)
        run = PutRun(
            run_id=run_id,
            function_no=function_no,
            event_id=event.event_id,
            status=RunStatus.RUNNING,
            started_at_ms=self.now_ms,
        )
        return run_id, [event, run, self.live(run_id, function_no=function_no)]

    def live(
        self,
        run_id: RunId,
        *,
        function_no: int = 1,
        queued_score: int | None = None,
        wake_at_ms: int | None = 0,
    ) -> PutLive:
        """A call is out, unless it is said otherwise."""
        return PutLive(
            run_id=run_id,
            function_no=function_no,
            queued_score=queued_score,
            wake_at_ms=wake_at_ms,
            state=STATE,
        )

    def watch(
        self,
        run_id: RunId,
        *,
        kind: WatchKind = WatchKind.EVENT,
        subject: str = "order/paid",
        path: str = '["id"]',
        value: bytes = b"1",
    ) -> PutWatch:
        """The run waits for that; ids grow with each call."""
        self.tick()
        return PutWatch(
            kind=kind,
            subject=subject,
            path=path,
            value=value,
            watch_id=self.ulid(),
            run_id=run_id,
        )

    def step(self, run_id: RunId, position: int, *, data: bytes = b"o" * 20) -> PutStep:
        name = f"step-{position}"
        return PutStep(
            run_id=run_id,
            step_id=hash_step_id(name),
            position=position,
            kind=StepKind.RUN,
            name=name,
            data=data,
            attempt=0,
            started_at_ms=self.now_ms - 3,
            ended_at_ms=self.now_ms,
        )

    def report(self, run_id: RunId, position: int) -> list[Write]:
        """A step is done and the next call is sent."""
        return [self.step(run_id, position), self.live(run_id)]

    def end(self, run_id: RunId, *, output: bytes = b"r" * 20) -> list[Write]:
        """The run is over, and its lifecycle event says so."""
        return [
            UpdateRun(
                run_id=run_id,
                status=RunStatus.COMPLETED,
                started_at_ms=self.now_ms - 50,
                ended_at_ms=self.now_ms,
                output=output,
            ),
            DeleteLive(run_id=run_id),
            PutEvent(
                event_id=EventId(self.ulid()),
                name="inngest/function.finished",
                ts_ms=self.now_ms,
                data=b"",
                source_run=run_id,
            ),
        ]

    def chains(self, *, runs: int, steps: int, in_flight: int) -> Iterator[list[Write]]:
        """Commits of many chains of steps at once, until all of them are over.

        Each commit holds one report of each run in flight, in random order, and what begins in
        place of the runs that ended.
        """
        active: list[tuple[RunId, int]] = []
        begun = 0
        while begun < runs or active:
            writes: list[Write] = []
            while len(active) < in_flight and begun < runs:
                self.tick()
                run_id, intake = self.intake()
                writes += intake
                active.append((run_id, 0))
                begun += 1
            self.tick()
            self._random.shuffle(active)
            going_on: list[tuple[RunId, int]] = []
            for run_id, position in active:
                if position < steps:
                    writes += self.report(run_id, position)
                    going_on.append((run_id, position + 1))
                else:
                    writes += self.end(run_id)
            active = going_on
            yield writes
