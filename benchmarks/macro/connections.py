"""What workers cost that are connected and have nothing to do, and whether others notice them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from benchmarks import progress
from benchmarks.closed_loop import ClosedLoop
from benchmarks.idle_workers import Watched, idle_workers
from benchmarks.macro.goals import goals_table, judge
from benchmarks.open_files import allow_sockets
from benchmarks.ours import RunningServer, server, worker
from benchmarks.plan import Workload
from benchmarks.processes import cpu_s, rss_mb
from benchmarks.samples import Spread, quantile
from benchmarks.tables import Table

if TYPE_CHECKING:
    from benchmarks.plan import Plan

SETTLE_S = 2.0
"""After the last one is ready, until their cost is looked at."""

BESIDE = 1_000
FIFTY_CHAINS = Workload("ten", 10, 50, 5 / 2)


class _Idle(msgspec.Struct, frozen=True, kw_only=True):
    """A server with so many idle workers, as it was watched for a while."""

    count: int
    mb: float
    cores: float
    ready_s: float | None = None
    watched: list[Watched] = []


class _Rates(msgspec.Struct):
    """Steps a second, for each repetition: with no idle workers before, with some, and after."""

    alone: list[float] = []
    beside: list[float] = []


async def run(plan: Plan) -> list[Table]:
    allow_sockets(max(plan.idle))  # for the servers too
    idle = [await _empty(plan), *[await _watch(plan, count) for count in plan.idle]]
    rates = _Rates()
    for number in range(plan.repeat):
        progress.show(f"connections, rates, repetition {number + 1} of {plan.repeat}")
        await _rates(plan, rates)
    return [_idle_table(plan, idle), _rates_table(plan, rates)]


async def _empty(plan: Plan) -> _Idle:
    progress.show("connections, none")
    async with server() as running:
        return await _seen(plan, running, 0)


async def _watch(plan: Plan, count: int) -> _Idle:
    progress.show(f"connections, {count:,} idle")
    async with server() as running:
        async with idle_workers(running.url, count) as workers:
            seen = await _seen(plan, running, count)
        return msgspec.structs.replace(seen, ready_s=workers.ready_s, watched=workers.watched)


async def _seen(plan: Plan, running: RunningServer, count: int) -> _Idle:
    await asyncio.sleep(SETTLE_S)
    used_s = cpu_s(running.pid)
    await asyncio.sleep(plan.idle_s)
    used_s = cpu_s(running.pid) - used_s
    return _Idle(count=count, mb=rss_mb(running.pid), cores=used_s / plan.idle_s)


async def _rates(plan: Plan, rates: _Rates) -> None:
    """One repetition: as many runs before and after those beside idle workers, on one server."""
    runs = round(plan.runs * FIFTY_CHAINS.share)
    async with server() as running, worker("stepwell", running) as session:
        loop = ClosedLoop(session)

        async def measured() -> float:
            sample = await loop.measure(FIFTY_CHAINS, runs)
            return sample.runs_per_s * FIFTY_CHAINS.steps

        await loop.drive(FIFTY_CHAINS, runs)
        before = await measured()
        async with idle_workers(running.url, BESIDE):
            await asyncio.sleep(SETTLE_S)
            rates.beside.append(await measured())
        await asyncio.sleep(SETTLE_S)
        rates.alone.append((before + await measured()) / 2)


def _idle_table(plan: Plan, idle: list[_Idle]) -> Table:
    table = Table(
        "Idle connections",
        f"Workers in two other processes, a heartbeat every ten seconds each; of the server, over "
        f"{plan.idle_s:g} s. MB are 10^6 bytes.\n"
        "KB and us: of each connection and each second, beyond a server without any. Heartbeats: "
        "there and back.",
        (
            "connections",
            "ready in s",
            "MB",
            "KB each",
            "% of a core",
            "us each",
            "heartbeats",
            "p50 ms",
            "p99 ms",
            "lost",
        ),
    )
    empty = idle[0]
    for one in idle:
        beats = [1000 * beat for watched in one.watched for beat in watched.heartbeats_s]
        if not one.count:
            table.add(0, None, one.mb, None, 100 * one.cores, None, None, None, None, None)
            continue
        table.add(
            one.count,
            one.ready_s,
            one.mb,
            1e3 * (one.mb - empty.mb) / one.count,
            100 * one.cores,
            1e6 * (one.cores - empty.cores) / one.count,
            len(beats),
            quantile(beats, 0.5),
            quantile(beats, 0.99),
            sum(watched.sockets_lost for watched in one.watched),
        )
    return table


def _rates_table(plan: Plan, rates: _Rates) -> Table:
    table = goals_table(
        f"Beside {BESIDE:,} idle connections",
        f"Steps a second of chains of ten, fifty in flight, on a worker of ours; {plan.repeat} "
        "repetitions. Alone: the mean of before and after.",
    )
    judge(table, "steps/s alone", Spread.of(rates.alone), None)
    judge(table, "steps/s beside them", Spread.of(rates.beside), None)
    judge(table, "beside to alone", Spread.of_ratios(rates.beside, rates.alone), None)
    return table
