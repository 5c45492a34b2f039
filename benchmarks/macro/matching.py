"""What an event costs that a waiting run is waiting for, by how many others wait beside it.

Two servers side by side, one with few waiting runs and one with many, each with a worker. Every
run waits for an event with its own number; an event ends one of them, which then reports. The
servers take turns, run by run, and get as many new waiting runs as they have lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import msgspec

from benchmarks import progress
from benchmarks.http_client import HttpConnection, post
from benchmarks.macro.goals import Goal, goals_table, judge
from benchmarks.ours import OurSession, server, worker
from benchmarks.processes import scratch
from benchmarks.samples import Spread, quantile
from benchmarks.tables import Table
from stepwell.store.sqlite.store import DATABASE_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.plan import Plan

FEW = 10
EVENTS = 10
"""Waiting runs that are ended on each side in a round: all that the smaller side has."""

BATCH = 500
SETTLE_S = 300.0

_RATIO = Goal(at_most=2.0)


class _Side(msgspec.Struct, kw_only=True):
    """One server with its waiting runs, which are those with numbers from `first` on."""

    session: OurSession
    http: HttpConnection
    port: int
    file: Path
    waiting: int = 0
    first: int = 0
    latencies_ms: list[float] = []

    async def top_up(self, waiting: int) -> None:
        """Start runs until so many wait."""
        following = self.first + self.waiting
        last = self.first + waiting
        while following < last:
            until = min(following + BATCH, last)
            events = b",".join(
                b'{"name":"bench/wait","data":{"n":%d}}' % number
                for number in range(following, until)
            )
            await self.http.ask(post(self.port, "/e/bench", b"[%b]" % events))
            following = until
            progress.show(f"matching, {following - self.first:,} of {waiting:,} runs sent")
        self.waiting = waiting
        async with asyncio.timeout(SETTLE_S):
            while (seen := _watches(self.file)) != waiting:
                progress.show(f"matching, {seen:,} of {waiting:,} runs wait")
                await asyncio.sleep(0.05)

    async def end_one(self) -> None:
        """End the first of those that wait, and take the time."""
        number = self.first
        ended = self.session.finishes.expect(number)
        begun = time.perf_counter()
        event = b'{"name":"bench/go","data":{"n":%d}}' % number
        await self.http.ask(post(self.port, "/e/bench", event))
        self.latencies_ms.append((await ended - begun) * 1000)
        self.first += 1
        self.waiting -= 1


async def run(plan: Plan) -> list[Table]:
    async with _side() as few, _side() as many:
        ratios: list[float] = []
        seen: list[tuple[float, float]] = []
        for number in range(plan.match_rounds):
            await few.top_up(FEW)
            await many.top_up(plan.waiting)
            progress.show(f"matching, round {number + 1} of {plan.match_rounds}")
            few.latencies_ms, many.latencies_ms = [], []
            for _ in range(EVENTS):
                await few.end_one()
                await many.end_one()
            medians = (quantile(few.latencies_ms, 0.5), quantile(many.latencies_ms, 0.5))
            if number:  # the first one warms up
                seen.append(medians)
                ratios.append(medians[1] / medians[0])
    return [_figures(plan, seen), _goals(plan, ratios)]


@contextlib.asynccontextmanager
async def _side() -> AsyncIterator[_Side]:
    with scratch() as folder:
        data = folder / "data"
        async with server(data) as running, worker("stepwell", running) as session:
            http = await HttpConnection.open(running.port)
            yield _Side(session=session, http=http, port=running.port, file=data / DATABASE_FILE)


def _watches(file: Path) -> int:
    """How many runs wait, as the file tells."""
    with contextlib.closing(
        apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    ) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM watch").fetchall()
    assert isinstance(count, int), "a count"
    return count


def _figures(plan: Plan, seen: list[tuple[float, float]]) -> Table:
    table = Table(
        "Matching",
        f"From sending an event to the last line of the run that waited for it; medians of "
        f"{len(seen)} rounds of {EVENTS} events, in ms.",
        ("waiting runs", "median", "least", "most"),
    )
    for name, values in zip((FEW, plan.waiting), zip(*seen, strict=True), strict=True):
        table.add(f"{name:,}", *Spread.of(list(values)).cells())
    return table


def _goals(plan: Plan, ratios: list[float]) -> Table:
    table = goals_table("Matching, goals", "Ratios of rounds.")
    judge(table, f"{plan.waiting:,} waiting runs to {FEW}", Spread.of(ratios), _RATIO)
    return table
