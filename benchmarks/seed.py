"""Makes a data directory as a server leaves it after many runs, through the store's own writer.

Usage: python -m benchmarks.seed DIRECTORY [--finished N] [--sleeping N]

A finished run is a chain of ten steps: an event with 100 bytes of data, ten outputs of 20 bytes
and a result of 20, and the lifecycle event of its end. Rows come in the order in which a server
with 50 runs in flight writes them, since that decides how full the pages are. Live rows of runs
that end are left out: they leave nothing behind.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import progress
from stepwell.engine.catalog import Catalog
from stepwell.engine.rows import (
    HistoryKind,
    PutEvent,
    PutHistory,
    PutRun,
    PutStep,
    RunStatus,
    StepKind,
    UpdateRun,
)
from stepwell.engine.state import Run, RunState, Sleep
from stepwell.store.sqlite import SqliteStore
from stepwell.wire.functions import parse_connect_app
from stepwell.wire.ids import EventId, RunId, hash_step_id, ulid_bytes
from stepwell.wire.json import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepwell.engine.rows import Write

APP = "bench"
STEPS = 10
IN_FLIGHT = 50
COMMIT_WRITES = 5_000
CHECKPOINT_PAGES = 25_000  # A hundred megabytes: hot pages move into the file less often.
PROGRESS_RUNS = 100_000
SLEEP_FIRST_MS = 3_600_000
SLEEP_SPREAD_MS = 24 * 3_600_000

_DATA = b'{"note":"%b"}' % (b"x" * 89)  # 100 bytes
_OUTPUT = b'"%b"' % (b"r" * 18)  # 20 bytes
_NAMES = [(f"step-{number}", hash_step_id(f"step-{number}")) for number in range(STEPS)]
_SLEEP = ("pause", hash_step_id("pause"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--finished", type=int, default=0, help="finished ten-step runs")
    parser.add_argument("--sleeping", type=int, default=0, help="sleeping runs")
    options = parser.parse_args()
    begun = time.perf_counter()
    seed(options.directory, finished=options.finished, sleeping=options.sleeping)
    progress.clear()
    print(f"made in {time.perf_counter() - begun:.1f} s")


def seed(directory: Path, *, finished: int = 0, sleeping: int = 0) -> None:
    """Fill a new directory; everything is on disk and in one file on return."""
    store = SqliteStore(directory, checkpoint_pages=CHECKPOINT_PAGES)
    try:
        history = _History(finished + sleeping)
        store.commit(history.functions())
        writes: list[Write] = []
        done = 0
        for runs, made in history.chains(finished):
            writes += made
            done += runs
            if len(writes) >= COMMIT_WRITES:
                store.commit(writes)
                writes.clear()
                if done % PROGRESS_RUNS < IN_FLIGHT:
                    progress.show(f"seed: {done:,} of {finished:,} finished runs")
        for made in history.sleepers(sleeping):
            writes += made
            if len(writes) >= COMMIT_WRITES:
                store.commit(writes)
                writes.clear()
        store.commit(writes)
        store.idle()
    finally:
        store.close()


class _History:
    """Makes rows with ids and times of the last hours, oldest first."""

    def __init__(self, runs: int) -> None:
        self._random = random.Random(0)
        self._now_ms = time.time_ns() // 1_000_000 - 60_000 - 2 * runs
        self._catalog = Catalog()

    def functions(self) -> list[Write]:
        """The app of `worker.py`; the worker that connects later gives its own description."""
        functions = [
            {
                "id": f"{APP}-{name}",
                "name": name,
                "triggers": [{"event": f"{APP}/{name}"}],
                "steps": {"step": {"id": "step", "name": "step", "runtime": {"url": "ws://"}}},
            }
            for name in ("one", "ten", "fan")
        ]
        registration = parse_connect_app(
            app_name=APP,
            app_version=None,
            functions=encode(functions),
            sdk_language="py",
            sdk_version="0",
            framework="",
            platform="",
            capabilities=b"{}",
        )
        return self._catalog.register(registration, self._now_ms)

    def chains(self, runs: int) -> Iterator[tuple[int, list[Write]]]:
        """Groups of runs that went on side by side, step by step."""
        function_no = self._number("ten")
        while runs > 0:
            count = min(runs, IN_FLIGHT)
            yield count, self._group(function_no, count)
            runs -= count

    def _group(self, function_no: int, count: int) -> list[Write]:
        writes: list[Write] = []
        started: list[tuple[RunId, int]] = []
        for _ in range(count):
            run_id, begun = self._begin(function_no, "ten")
            writes += begun
            started.append((run_id, self._now_ms))
        for position, (name, step_id) in enumerate(_NAMES):
            self._now_ms += 5
            now_ms = self._now_ms
            writes += [
                PutStep(
                    run_id=run_id,
                    step_id=step_id,
                    position=position,
                    kind=StepKind.RUN,
                    name=name,
                    data=_OUTPUT,
                    attempt=0,
                    started_at_ms=now_ms - 5,
                    ended_at_ms=now_ms,
                )
                for run_id, _ in started
            ]
        self._now_ms += 5
        for run_id, started_at_ms in started:
            writes.append(
                UpdateRun(
                    run_id=run_id,
                    status=RunStatus.COMPLETED,
                    started_at_ms=started_at_ms,
                    ended_at_ms=self._now_ms,
                    output=_OUTPUT,
                )
            )
            writes.append(
                PutEvent(
                    event_id=EventId(self._ulid()),
                    name="inngest/function.finished",
                    ts_ms=self._now_ms,
                    data=b"",
                    source_run=run_id,
                )
            )
        return writes

    def sleepers(self, runs: int) -> Iterator[list[Write]]:
        """Runs that have begun and wait, for an hour at least and 25 at most."""
        function_no = self._number("ten")
        for _ in range(runs):
            run_id, writes = self._begin(function_no, "ten")
            due_ms = self._now_ms + SLEEP_FIRST_MS + self._random.randrange(SLEEP_SPREAD_MS)
            run = Run(
                run_id=run_id,
                function_no=function_no,
                event_id=EventId(b""),
                status=RunStatus.RUNNING,
                started_at_ms=self._now_ms,
                state=RunState(
                    version=2,
                    next_job_no=1,
                    sleeps=[
                        Sleep(
                            step_id=_SLEEP[1],
                            name=_SLEEP[0],
                            started_ms=self._now_ms,
                            due_ms=due_ms,
                        )
                    ],
                ),
                stored=True,
            )
            writes.append(run.live_row())
            writes.append(
                PutHistory(
                    run_id=run_id,
                    seq=0,
                    at_ms=self._now_ms,
                    kind=HistoryKind.SLEEP_STARTED,
                    step_id=_SLEEP[1],
                    name=_SLEEP[0],
                    attempt=0,
                    payload=b"%d" % due_ms,
                )
            )
            yield writes

    def _begin(self, function_no: int, work: str) -> tuple[RunId, list[Write]]:
        self._now_ms += 1
        event_id, run_id = EventId(self._ulid()), RunId(self._ulid())
        event = PutEvent(
            event_id=event_id,
            name=f"{APP}/{work}",
            ts_ms=self._now_ms,
            data=_DATA,
            runs=(run_id,),
        )
        run = PutRun(
            run_id=run_id,
            function_no=function_no,
            event_id=event_id,
            status=RunStatus.RUNNING,
            started_at_ms=self._now_ms,
        )
        return run_id, [event, run]

    def _number(self, work: str) -> int:
        entry = self._catalog.by_slug(app_name=APP, slug=f"{APP}-{work}")
        assert entry is not None, "it was registered"
        return entry.no

    def _ulid(self) -> bytes:
        return ulid_bytes(self._now_ms, self._random.randbytes(10))


if __name__ == "__main__":
    main()
