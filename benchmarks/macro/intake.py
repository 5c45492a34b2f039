"""Events in, as fast as fifty connections can send them, beside an endpoint that does nothing.

All three sides take the same request: one event with about a hundred bytes of data. They stay up
for the whole suite and have their turns in rounds; who has not is idle.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from benchmarks import progress
from benchmarks.http_client import Flood, flood, post
from benchmarks.macro.goals import Goal, goals_table, judge
from benchmarks.ours import RunningServer, server, worker
from benchmarks.raw import endpoint
from benchmarks.samples import Spread, quantile
from benchmarks.tables import Table

if TYPE_CHECKING:
    from benchmarks.plan import Plan

CONNECTIONS = 50
WARM_UP_S = 0.5

_GOALS = {"nothing matches": Goal(at_least=0.4), "starts a run": Goal(at_least=0.2)}


class _Target(msgspec.Struct, frozen=True):
    name: str
    port: int
    request: bytes


async def run(plan: Plan) -> list[Table]:
    async with AsyncExitStack() as stack:
        empty_port = await stack.enter_async_context(endpoint("http"))
        unmatched = await stack.enter_async_context(server())
        matched = await stack.enter_async_context(server())
        for running in (unmatched, matched):
            await _register(running)
        targets = (
            _Target("empty endpoint", empty_port, post(empty_port, "/e/bench", _event("bench/no"))),
            _Target("nothing matches", *_to(unmatched, "bench/no")),
            _Target("starts a run", *_to(matched, "bench/one")),
        )
        taken: dict[str, list[Flood]] = {target.name: [] for target in targets}
        for number in range(plan.repeat):
            for target in targets:
                progress.show(f"intake, repetition {number + 1} of {plan.repeat}: {target.name}")
                taken[target.name].append(
                    await flood(
                        target.port,
                        target.request,
                        connections=CONNECTIONS,
                        warm_up_s=WARM_UP_S,
                        seconds=plan.flood_s,
                    )
                )
        if await _has_runs(unmatched) or not await _has_runs(matched):
            raise RuntimeError("the events did not start what this suite counts on")
    return [_figures_table(taken, plan), _ratios_table(taken)]


async def _register(running: RunningServer) -> None:
    """Make the functions known; then there is no worker, and runs wait in the queue."""
    async with worker("stepwell", running):
        pass


async def _has_runs(running: RunningServer) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"{running.url}/v2/runs") as answer:
        return bool(json.loads(await answer.read()).get("data"))


def _to(running: RunningServer, name: str) -> tuple[int, bytes]:
    return running.port, post(running.port, "/e/bench", _event(name))


def _event(name: str) -> bytes:
    data = {"order": "A-1027", "customer": "c-4711", "note": "x" * 40, "items": 3, "n": 0}
    return msgspec.json.encode({"name": name, "data": data})


def _figures_table(taken: dict[str, list[Flood]], plan: Plan) -> Table:
    table = Table(
        "Event intake",
        f"{CONNECTIONS} connections, one request in flight on each, {plan.repeat} x "
        f"{plan.flood_s:g} s, sides interleaved; durable but for the empty endpoint.\n"
        "Load generator: how many cores it used; near 1, it is what was measured.",
        ("side", "requests/s", "least", "most", "p50 ms", "p99 ms", "load generator"),
    )
    for name, floods in taken.items():
        table.add(
            name,
            *Spread.of([each.per_second for each in floods]).cells(),
            *(
                Spread.of([quantile(each.latencies_ms, share) for each in floods]).median
                for share in (0.5, 0.99)
            ),
            Spread.of([each.client_cores for each in floods]).median,
        )
    return table


def _ratios_table(taken: dict[str, list[Flood]]) -> Table:
    table = goals_table("Event intake, of the empty endpoint's rate", "Ratios within a repetition.")
    empty = [each.per_second for each in taken["empty endpoint"]]
    for name, goal in _GOALS.items():
        ours = [each.per_second for each in taken[name]]
        judge(table, name, Spread.of_ratios(ours, empty), goal)
    return table
