"""What a durable commit costs, and what a finished run weighs.

Run as `python -m benchmarks.micro.store_commit`.

Commits are timed in two halves, statements (BEGIN and rows) and COMMIT, beside the raw limit of the
same minute: one row in a table of two columns, committed by itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stepwell.store.sqlite import SqliteStore
from stepwell.store.sqlite.connections import open_writer
from stepwell.store.sqlite.schema import migrate
from stepwell.store.sqlite.store import DATABASE_FILE
from stepwell.store.sqlite.writes import COMMIT_SQL, Writes
from tests.store.stories import Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import apsw

    from stepwell.engine.rows import Write

_Commit = TypeVar("_Commit")

RUN_BYTES_MAX = 1_600  # The budget of design.md, section 7.
CHAIN_STEPS = 10
BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.store_commit")
    parser.add_argument("--commits", type=int, default=5_000, help="commits per figure")
    parser.add_argument("--runs", type=int, default=20_000, help="ten-step runs to weigh")
    parser.add_argument("--directory", type=Path, default=Path(".cache"), help="on the disk to use")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        _commits(Path(directory), options.commits)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        _weigh(Path(directory), options.runs)


def _commits(directory: Path, count: int) -> None:
    print(f"{'a commit of':34}{'rows/s':>9}{'us p50':>8}{'p99':>8}{'statements':>12}{'COMMIT':>8}")
    raw = open_writer(directory / "raw.db")
    raw.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
    insert = raw.cursor().execute

    def insert_one(number: int) -> None:
        insert("INSERT INTO t VALUES (?, ?)", (number, b"x" * 50))

    _measure("one row of two columns (raw)", raw, insert_one, range(2 * count))
    raw.close()
    connection = open_writer(directory / DATABASE_FILE)
    migrate(connection)
    writes = Writes(connection)
    story = Story()
    _measure("PutEvent, PutRun, PutLive", connection, writes.apply, _intakes(story, 2 * count), 3)
    _measure("PutStep, PutLive", connection, writes.apply, _reports(story, 2 * count), 2)
    reports = _batches(_reports(story, count * 10), BATCH)
    _measure(f"{BATCH} x (PutStep, PutLive)", connection, writes.apply, reports, 2 * BATCH)
    intakes = _batches(_intakes(story, count * 10), BATCH)
    _measure(f"{BATCH} x (PutEvent, PutRun, PutLive)", connection, writes.apply, intakes, 3 * BATCH)
    connection.close()


def _intakes(story: Story, count: int) -> list[list[Write]]:
    made: list[list[Write]] = []
    for _ in range(count):
        story.tick()
        made.append(story.intake()[1])
    return made


def _reports(story: Story, count: int) -> list[list[Write]]:
    """Reports of runs that are in flight, `CHAIN_STEPS` each; the intake is not part of it."""
    made: list[list[Write]] = []
    for _ in range(count // CHAIN_STEPS):
        run_id, intake = story.intake()
        made.append([*intake, *story.report(run_id, 0)])
        for position in range(1, CHAIN_STEPS):
            story.tick()
            made.append(story.report(run_id, position))
    return made


def _batches(commits: Sequence[list[Write]], size: int) -> list[list[Write]]:
    return [
        [write for writes in commits[start : start + size] for write in writes]
        for start in range(0, len(commits), size)
    ]


def _measure(
    name: str,
    connection: apsw.Connection,
    apply: Callable[[_Commit], object],
    commits: Iterable[_Commit],
    rows: int = 1,
) -> None:
    """Time commits; the first half warms the log's file and the caches and is not counted."""
    execute = connection.cursor().execute
    statements: list[float] = []
    whole: list[float] = []
    for writes in commits:
        begun = time.perf_counter()
        execute(COMMIT_SQL["begin"])
        apply(writes)
        applied = time.perf_counter()
        execute(COMMIT_SQL["commit"])
        statements.append(applied - begun)
        whole.append(time.perf_counter() - begun)
    half = len(whole) // 2
    whole, statements = whole[half:], statements[half:]
    mean_us = statistics.fmean(whole) * 1e6
    statements_us = statistics.fmean(statements) * 1e6
    print(
        f"{name:34}{rows / mean_us * 1e6:9,.0f}{statistics.median(whole) * 1e6:8.0f}"
        f"{statistics.quantiles(whole, n=100)[98] * 1e6:8.0f}"
        f"{statements_us:12.1f}{mean_us - statements_us:8.1f}"
    )


def _weigh(directory: Path, runs: int) -> None:
    store = SqliteStore(directory)
    begun = time.perf_counter()
    for writes in Story().chains(runs=runs, steps=CHAIN_STEPS, in_flight=BATCH):
        store.commit(writes)
    took_s = time.perf_counter() - begun
    store.close()
    path = directory / DATABASE_FILE
    size = path.stat().st_size
    print(
        f"\n{runs:,} ten-step runs, {BATCH} in flight: {size / runs:,.0f} bytes each "
        f"(at most {RUN_BYTES_MAX:,}), {runs / took_s:,.0f} runs/s, "
        f"{runs * CHAIN_STEPS / took_s:,.0f} steps/s"
    )
    connection = open_writer(path)
    for name, pages, used in connection.execute(
        "SELECT name, sum(pgsize), sum(payload) FROM dbstat GROUP BY name ORDER BY 2 DESC"
    ):
        print(f"  {name:24}{pages / runs:8.1f} bytes a run, {used / pages:4.0%} payload")
    connection.close()


if __name__ == "__main__":
    main()
