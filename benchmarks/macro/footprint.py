"""Start-up and memory of our server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks import progress
from benchmarks.closed_loop import ClosedLoop
from benchmarks.macro.goals import Goal, goals_table, judge
from benchmarks.ours import server, worker
from benchmarks.plan import Workload
from benchmarks.processes import rss_mb
from benchmarks.samples import Spread

if TYPE_CHECKING:
    from benchmarks.plan import Plan
    from benchmarks.tables import Table

IDLE_SETTLE_S = 1.0
FIFTY = Workload("one", 1, 50, 1)


async def run(plan: Plan) -> list[Table]:
    ready_ms, idle_mb = [], []
    for number in range(plan.start_ups):
        progress.show(f"footprint, start-up {number + 1} of {plan.start_ups}")
        async with server() as running:
            ready_ms.append(running.ready_s * 1000)
            await asyncio.sleep(IDLE_SETTLE_S)
            idle_mb.append(rss_mb(running.pid))
    progress.show(f"footprint, memory after {plan.footprint_runs:,} runs")
    async with server() as running, worker("stepwell", running) as session:
        worker_mb = rss_mb(session.pids["worker"])
        await ClosedLoop(session).drive(FIFTY, plan.footprint_runs)
        after_mb = rss_mb(running.pid)
        worker_after_mb = rss_mb(session.pids["worker"])
    table = goals_table(
        "Footprint",
        f"{plan.start_ups} starts on an empty directory, from the start of the process to the "
        f"first 200 of /ready; resident memory {IDLE_SETTLE_S:g} s later,\n"
        f"and right after {plan.footprint_runs:,} one-step runs, 50 in flight. MB are 10^6 bytes.",
    )
    judge(table, "ready, ms", Spread.of(ready_ms), Goal(at_most=1000))
    judge(table, "idle, MB", Spread.of(idle_mb), Goal(at_most=90))
    judge(table, "after the runs, MB", Spread.of([after_mb]), Goal(at_most=130))
    judge(table, "worker when connected, MB", Spread.of([worker_mb]), None)
    judge(table, "worker after the runs, MB", Spread.of([worker_after_mb]), None)
    return [table]
