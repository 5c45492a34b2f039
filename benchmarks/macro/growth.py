"""Whether a server gets slower as its file grows: chains beside those of an empty one, in pairs.

Each opening starts a server on the directory, connects a worker, warms up and measures; the empty
directory is a new one each time. The order within a pair changes from pair to pair.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import msgspec

from benchmarks import progress
from benchmarks.closed_loop import ClosedLoop
from benchmarks.macro.goals import Goal, goals_table, judge
from benchmarks.ours import server, worker
from benchmarks.plan import Workload
from benchmarks.processes import IMPORTS, scratch, spawned
from benchmarks.samples import Spread, quantile
from benchmarks.tables import Table
from stepwell.store.sqlite.store import DATABASE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.plan import Plan

CHAIN = Workload("ten", 10, 1, 1)

_RATIO = Goal(at_most=1.15)
_READY = Goal(at_most=2000)
_BYTES = Goal(at_most=1600)


class _Opening(msgspec.Struct, frozen=True):
    ready_ms: float
    chain_ms: float


class _Seeded(msgspec.Struct, kw_only=True):
    """One directory and what was seen of it."""

    name: str
    runs: int
    finished: bool
    made_s: float
    file_bytes: int
    seen: list[_Opening] = []
    beside: list[_Opening] = []


async def run(plan: Plan) -> list[Table]:
    taken = [
        *[await _grown(plan, finished=runs, sleeping=0) for runs in plan.seeds],
        await _grown(plan, finished=0, sleeping=plan.sleeping),
    ]
    return [_figures_table(taken, plan), _goals_table(taken)]


async def _grown(plan: Plan, *, finished: int, sleeping: int) -> _Seeded:
    name = f"{finished:,} finished" if finished else f"{sleeping:,} sleeping"
    with scratch() as folder:
        data = folder / "data"
        progress.show(f"growth, making {name} runs")
        begun = time.perf_counter()
        await _seed(folder, data, finished=finished, sleeping=sleeping)
        seeded = _Seeded(
            name=name,
            runs=finished + sleeping,
            finished=finished > 0,
            made_s=time.perf_counter() - begun,
            file_bytes=(data / DATABASE_FILE).stat().st_size,
        )
        for number in range(plan.pairs):
            turns = [(data, seeded.seen), (None, seeded.beside)]
            for directory, openings in turns if number % 2 == 0 else reversed(turns):
                progress.show(f"growth, {name} runs, pair {number + 1} of {plan.pairs}")
                openings.append(await _open(plan, directory))
    return seeded


async def _seed(folder: Path, data: Path, *, finished: int, sleeping: int) -> None:
    """In a process of its own, which an interrupt ends at once."""
    async with spawned(
        sys.executable,
        "-m",
        "benchmarks.seed",
        str(data),
        f"--finished={finished}",
        f"--sleeping={sleeping}",
        folder=folder,
        log="seed.log",
        environment=IMPORTS,
    ) as process:
        if await process.wait() != 0:
            raise RuntimeError((folder / "seed.log").read_text())


async def _open(plan: Plan, data: Path | None) -> _Opening:
    async with server(data) as running, worker("stepwell", running) as session:
        sample = await ClosedLoop(session).measure(CHAIN, plan.chains)
        return _Opening(
            ready_ms=running.ready_s * 1000, chain_ms=quantile(sample.latencies_ms, 0.5)
        )


def _figures_table(taken: list[_Seeded], plan: Plan) -> Table:
    table = Table(
        "Growth",
        f"Medians of {plan.pairs} openings, {plan.chains} chains of ten steps each; beside: an "
        "empty directory in the same minute.",
        (
            "runs in the file",
            "made in s",
            "file MB",
            "ready ms",
            "ready most",
            "ready beside",
            "chain p50 ms",
            "chain most",
            "chain beside",
        ),
    )
    for each in taken:
        table.add(
            each.name,
            each.made_s,
            each.file_bytes / 1e6,
            *_median_and_most([opening.ready_ms for opening in each.seen]),
            Spread.of([opening.ready_ms for opening in each.beside]).median,
            *_median_and_most([opening.chain_ms for opening in each.seen]),
            Spread.of([opening.chain_ms for opening in each.beside]).median,
        )
    return table


def _median_and_most(values: list[float]) -> tuple[float, float]:
    spread = Spread.of(values)
    return spread.median, spread.most


def _goals_table(taken: list[_Seeded]) -> Table:
    table = goals_table("Growth, goals", "Chains: ratios of pairs.")
    for each in taken:
        if each.finished:
            size = each.file_bytes / each.runs
            judge(table, f"bytes a run, {each.name}", Spread.of([size]), _BYTES)
        ratios = Spread.of_ratios(
            [opening.chain_ms for opening in each.seen],
            [opening.chain_ms for opening in each.beside],
        )
        judge(table, f"chain, {each.name}, to empty", ratios, _RATIO)
        ready = Spread.of([opening.ready_ms for opening in each.seen])
        judge(table, f"ready ms, {each.name}", ready, _READY)
    return table
