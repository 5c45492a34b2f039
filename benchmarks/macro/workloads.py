"""The same work on every side: latency of one run at a time, throughput of fifty.

Each repetition brings a side up on an empty directory, warms it up, measures all cells, and takes
it down; then the next side has its turn, so that no side has the quiet minutes to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import progress
from benchmarks.closed_loop import ClosedLoop
from benchmarks.http_client import AnswerError
from benchmarks.macro.goals import Goal, goals_table, judge
from benchmarks.plan import WORKLOADS, Workload
from benchmarks.processes import NotStarted
from benchmarks.samples import Spread, quantile
from benchmarks.tables import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.closed_loop import Sample
    from benchmarks.plan import Plan
    from benchmarks.sides import Side

US = "stepwell"
SAFE = "stepwell safe"
PERFORMANT = "stepwell performant"
OURS = (US, SAFE, PERFORMANT)

Taken = dict[str, dict[Workload, list["Sample"]]]
"""Samples by side and cell, one for each repetition."""


async def run(plan: Plan, sides: Sequence[Side]) -> list[Table]:
    taken, skipped = await take(plan, sides)
    tables = (
        _sides_table(sides, skipped),
        figures_table("Workloads", taken, plan),
        _ratios_table(taken),
    )
    return [table for table in tables if table.rows]


async def take(plan: Plan, sides: Sequence[Side]) -> tuple[Taken, dict[str, str]]:
    """Have all sides do all cells; returns the samples, and why others have none."""
    present = [side for side in sides if side.missing() is None]
    skipped = {side.name: side.missing() or "" for side in sides if side not in present}
    taken: Taken = {side.name: {cell: [] for cell in WORKLOADS} for side in present}
    for number in range(plan.repeat):
        for side in present:
            if side.name in skipped:
                continue
            where = f"workloads, repetition {number + 1} of {plan.repeat}, {side.name}"
            try:
                await _repetition(plan, side, where, taken[side.name])
            except* (NotStarted, AnswerError, TimeoutError, OSError) as group:
                if side.name in OURS:
                    raise
                skipped[side.name] = f"failed: {group.exceptions[0]!r}"
                del taken[side.name]
    return taken, skipped


async def _repetition(
    plan: Plan, side: Side, where: str, taken: dict[Workload, list[Sample]]
) -> None:
    progress.show(where)
    async with side.up() as session:
        loop = ClosedLoop(session)
        for cell in WORKLOADS:
            progress.show(f"{where}: {cell.name}, {cell.in_flight} in flight")
            runs = max(2 * cell.in_flight, round(plan.runs * cell.share * side.share), 5)
            taken[cell].append(await loop.measure(cell, runs))


def _sides_table(sides: Sequence[Side], skipped: dict[str, str]) -> Table:
    table = Table(
        "Sides",
        "What a side says it keeps through a power cut, and by which means.",
        ("side", "what", "durability"),
    )
    for side in sides:
        if side.name not in skipped:
            table.add(side.name, side.version, side.durability)
    for name, reason in skipped.items():
        table.add(name, "SKIPPED", reason)
    return table


def figures_table(title: str, taken: Taken, plan: Plan) -> Table:
    """Latencies, rates and CPU of each cell on each side."""
    table = Table(
        title,
        "Milliseconds from the request that starts a run to its function's last line. Medians "
        f"over {plan.repeat} repetitions, sides interleaved;\n"
        "warm-up: a tenth as many runs. Rates while all lanes had a run. CPU of all threads, in "
        "microseconds for each step.",
        (
            "work",
            "in flight",
            "side",
            "n",
            "p50 ms",
            "least",
            "most",
            "p95 ms",
            "p99 ms",
            "runs/s",
            "steps/s",
            "server us",
            "worker us",
        ),
    )
    for cell in WORKLOADS:
        for side, samples in taken.items():
            table.add(cell.name, cell.in_flight, side, *_figures(cell, samples[cell]))
    return table


def _figures(cell: Workload, samples: Sequence[Sample]) -> tuple[str | float | None, ...]:
    runs = len(samples[0].latencies_ms)
    rate = Spread.of([sample.runs_per_s for sample in samples]).median
    p95, p99 = (
        Spread.of([quantile(sample.latencies_ms, share) for sample in samples]).median
        for share in (0.95, 0.99)
    )
    server_us, worker_us = (
        1e6 * Spread.of([sample.cpu_s[role] for sample in samples]).median / (runs * cell.steps)
        if role in samples[0].cpu_s
        else None
        for role in ("server", "worker")
    )
    return (
        f"{len(samples)} x {runs}",
        *Spread.of(p50s(samples)).cells(),
        p95,
        p99,
        rate,
        rate * cell.steps,
        server_us,
        worker_us,
    )


def p50s(samples: Sequence[Sample]) -> list[float]:
    """The p50 of each repetition, in milliseconds."""
    return [quantile(sample.latencies_ms, 0.5) for sample in samples]


def rates(samples: Sequence[Sample]) -> list[float]:
    """Runs a second of each repetition."""
    return [sample.runs_per_s for sample in samples]


_GOALS = {
    (US, "restate", "one", 1): Goal(at_most=0.35),
    (US, "restate", "ten", 1): Goal(at_most=0.4),
    (US, "restate", "fan", 1): Goal(at_most=0.8),
    (US, "restate", "one", 50): Goal(at_least=5),
    (US, "restate", "ten", 50): Goal(at_least=4),
    (US, "dbos", "ten", 50): Goal(at_least=15),
    (SAFE, "restate", "ten", 1): Goal(at_most=0.3),
    (SAFE, "restate", "fan", 1): Goal(at_most=0.25),
    (SAFE, "restate", "ten", 50): Goal(at_least=5),
    (PERFORMANT, "restate", "ten", 1): Goal(at_most=0.12),
    (PERFORMANT, "restate", "fan", 1): Goal(at_most=0.25),
    (PERFORMANT, "restate", "ten", 50): Goal(at_least=12),
}
"""By side of ours, the other, work, and how many in flight."""


def _ratios_table(taken: Taken) -> Table:
    table = goals_table(
        "Ratios",
        "Ours to theirs, of the same repetition: of the p50 with one in flight, of the rate with "
        "fifty.",
    )
    for ours in OURS:
        for rival in taken:
            if rival in OURS or ours not in taken:
                continue
            for cell in WORKLOADS:
                goal = _GOALS.get((ours, rival, cell.name, cell.in_flight))
                if ours != US and goal is None:
                    continue
                of, what = (p50s, "time") if cell.in_flight == 1 else (rates, "rate")
                judge(
                    table,
                    f"{what} of {cell.name}, {cell.in_flight} in flight, {ours} to {rival}",
                    Spread.of_ratios(of(taken[ours][cell]), of(taken[rival][cell])),
                    goal,
                )
    return table
