"""Steps, API reads and the heartbeats of a hundred workers at once, on a disk that stalls.

The load is the same at all times, whatever the server makes of it: each event, read and heartbeat
has its moment, and its latency counts from then.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from benchmarks import progress
from benchmarks.fleet import EVENT, Fleet, Seen, Work, fleet
from benchmarks.http_client import HttpConnection, get, post
from benchmarks.macro.goals import Goal, goals_table, judge
from benchmarks.ours import server
from benchmarks.processes import cpu_s
from benchmarks.samples import Spread, quantile
from benchmarks.tables import Table
from tests.faulty_disk.orders import FaultyDisk, Orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from benchmarks.ours import RunningServer
    from benchmarks.plan import Plan

WORKERS = 100
RUNS_PER_S = 50
READS_PER_S = 100
STEPS = 10
STEP_MS = 100
LONG_EACH = 25
LONG_MS = 6_000
"""One run in `LONG_EACH` has a step of `LONG_MS`: its lease must be extended once."""

LEASE_S = 8
"""Instead of two minutes, in which none could be lost here."""

STALLS = Orders(stall_ms=50, every_ms=1_000)
CONNECTIONS = 30
WARM_UP_S = 2.5
"""Not counted: at first the server has to notice that the disk stalls."""

END_WAIT_S = 30.0
_POLL_S = 0.02

_READS = ("list of runs", "one run", "runs of an event")

Latencies: TypeAlias = "dict[str, list[float]]"


class _Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One disk under the load. `latencies_s` by what was asked."""

    latencies_s: Latencies
    took_s: float
    steps: int
    extensions: int
    leases_lost: int
    sockets_lost: int
    runs_begun: int
    runs_ended: int
    stalls: int
    server_cores: float
    client_cores: float


async def run(plan: Plan) -> list[Table]:
    steady = await _measure("a steady disk", Orders(), plan)
    stalling = await _measure("a disk that stalls", STALLS, plan)
    if not stalling.stalls >= plan.mixed_s / 2:
        raise RuntimeError(f"the disk stalled {stalling.stalls} times only")
    measured = {"steady": steady, "stalling": stalling}
    return [_latencies_table(measured), _counts_table(measured, plan), _goals_table(stalling)]


async def _measure(name: str, orders: Orders, plan: Plan) -> _Measured:
    progress.show(f"mixed load, {name}")
    with tempfile.TemporaryDirectory() as folder:
        disk = FaultyDisk(Path(folder))
        async with (
            server(None, f"--connect-lease={LEASE_S}", disk=disk) as running,
            fleet(running.url, WORKERS) as workers,
        ):
            async with _load(running, workers) as load:
                disk.order(orders)
                await load.drive(WARM_UP_S)
                load.latencies_s = {}
                during = workers.begin()
                used_s, own_s = cpu_s(running.pid), time.process_time()
                begun_s = time.perf_counter()
                await load.drive(plan.mixed_s)
                took_s = time.perf_counter() - begun_s
                used_s, own_s = cpu_s(running.pid) - used_s, time.process_time() - own_s
                after = workers.begin()
            progress.show(f"mixed load, {name}: until all runs have ended")
            with contextlib.suppress(TimeoutError):  # the goal is missed, the table says by what
                async with asyncio.timeout(END_WAIT_S):
                    while workers.ended < load.begun:  # noqa: ASYNC110 - nobody else waits for it
                        await asyncio.sleep(_POLL_S)
            return _measured(load, workers, during, after, took_s, used_s, own_s, disk)


class _Load:
    """Events and reads, each at its time.

    Attributes:
        begun: Events that were accepted, each of which begins one run.
        latencies_s: By what was asked; may be replaced to begin anew.
    """

    def __init__(self, running: RunningServer, workers: Fleet, idle: list[HttpConnection]) -> None:
        self.begun = 0
        self.latencies_s: Latencies = {}
        self._port = running.port
        self._workers = workers
        self._idle: asyncio.Queue[HttpConnection] = asyncio.Queue()
        for connection in idle:
            self._idle.put_nowait(connection)
        self._event_id = ""
        self._events = count()
        self._reads = count()

    async def drive(self, seconds: float) -> None:
        """Keep it up for a while; returns when everything was answered.

        Raises:
            AnswerError: An answer other than 2xx, or a lost connection.
        """
        async with asyncio.TaskGroup() as group:
            await self._send_event()  # there is something to read
            group.create_task(self._pace(RUNS_PER_S, seconds, self._send_event))
            group.create_task(self._pace(READS_PER_S, seconds, self._read))

    async def _pace(self, per_s: int, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        begun_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(round(per_s * seconds)):
                await asyncio.sleep(begun_s + number / per_s - time.perf_counter())
                group.create_task(_awaited(act))

    async def _send_event(self) -> None:
        number = next(self._events)
        is_long = number % LONG_EACH == 0
        work = Work(STEPS, STEP_MS, long_step=number % STEPS if is_long else -1, long_ms=LONG_MS)
        body = msgspec.json.encode({"name": EVENT, "data": work})
        answer = await self._ask("event, durable", post(self._port, "/e/bench", body))
        self._event_id = msgspec.json.decode(answer, type=_Accepted).ids[0]
        self.begun += 1

    async def _read(self) -> None:
        kind = _READS[next(self._reads) % len(_READS)]
        match kind:
            case "one run" if self._workers.recent_run_id:
                path = f"/v2/runs/{self._workers.recent_run_id}"
            case "runs of an event":
                path = f"/v1/events/{self._event_id}/runs"
            case _:
                path = "/v2/runs"
        await self._ask(kind, get(self._port, path))

    async def _ask(self, what: str, request: bytes) -> bytes:
        """Ask, and note how long it took, the wait for a free connection included."""
        begun_s = time.perf_counter()
        connection = await self._idle.get()
        answer = await connection.ask(request)
        self.latencies_s.setdefault(what, []).append(time.perf_counter() - begun_s)
        self._idle.put_nowait(connection)
        return answer


class _Accepted(msgspec.Struct):
    ids: list[str]


async def _awaited(act: Callable[[], Awaitable[None]]) -> None:
    await act()


@contextlib.asynccontextmanager
async def _load(running: RunningServer, workers: Fleet) -> AsyncIterator[_Load]:
    connections = [await HttpConnection.open(running.port) for _ in range(CONNECTIONS)]
    try:
        yield _Load(running, workers, connections)
    finally:
        for connection in connections:
            connection.close()


def _measured(
    load: _Load,
    workers: Fleet,
    during: Seen,
    after: Seen,
    took_s: float,
    server_s: float,
    client_s: float,
    disk: FaultyDisk,
) -> _Measured:
    reads = [latency for kind in _READS for latency in load.latencies_s[kind]]
    return _Measured(
        latencies_s={
            "heartbeat": during.heartbeats_s,
            "API reads": reads,
            **{f"  {kind}": load.latencies_s[kind] for kind in _READS},
            "event, durable": load.latencies_s["event, durable"],
            "a step's output, durable": during.replies_s,
        },
        took_s=took_s,
        steps=during.steps,
        extensions=during.extensions + after.extensions,
        leases_lost=during.leases_lost + after.leases_lost,
        sockets_lost=during.sockets_lost + after.sockets_lost,
        runs_begun=load.begun,
        runs_ended=workers.ended,
        stalls=disk.report().stalls,
        server_cores=server_s / took_s,
        client_cores=client_s / took_s,
    )


def _latencies_table(measured: dict[str, _Measured]) -> Table:
    table = Table(
        "Mixed load, latencies",
        f"{WORKERS} workers, a heartbeat a second each; {RUNS_PER_S} runs a second of {STEPS} "
        f"steps of {STEP_MS} ms (one in {LONG_EACH} has one of {LONG_MS / 1000:g} s);\n"
        f"{READS_PER_S} API reads a second. The stalling disk takes {STALLS.stall_ms:g} ms for a "
        "sync, once in each second;\n"
        f"what happened in the first {WARM_UP_S:g} s, until the server has noticed, is left out.",
        ("disk", "what", "each s", "p50 ms", "p99 ms", "max ms"),
    )
    for name, one in measured.items():
        for what, latencies_s in one.latencies_s.items():
            table.add(
                name,
                what,
                len(latencies_s) / one.took_s,
                1000 * quantile(latencies_s, 0.5),
                1000 * quantile(latencies_s, 0.99),
                1000 * max(latencies_s),
            )
    return table


def _counts_table(measured: dict[str, _Measured], plan: Plan) -> Table:
    table = Table(
        "Mixed load, counts",
        f"Of {plan.mixed_s:g} s, and until the last run has ended; cores: of those seconds. A "
        f"lease is for {LEASE_S} s. Load generator: near 1, it is what was measured.",
        (
            "disk",
            "steps/s",
            "runs begun",
            "ended",
            "leases extended",
            "lost",
            "sockets lost",
            "stalls",
            "server cores",
            "load generator",
        ),
    )
    for name, one in measured.items():
        table.add(
            name,
            one.steps / one.took_s,
            one.runs_begun,
            one.runs_ended,
            one.extensions,
            one.leases_lost,
            one.sockets_lost,
            one.stalls,
            one.server_cores,
            one.client_cores,
        )
    return table


def _goals_table(stalling: _Measured) -> Table:
    table = goals_table("Mixed load, on the disk that stalls", "")
    for what, value, most in (
        ("heartbeat, p99 ms", 1000 * quantile(stalling.latencies_s["heartbeat"], 0.99), 100.0),
        ("API reads, p99 ms", 1000 * quantile(stalling.latencies_s["API reads"], 0.99), 100.0),
        ("leases lost", stalling.leases_lost + stalling.sockets_lost, 0.0),
        ("runs that did not end", stalling.runs_begun - stalling.runs_ended, 0.0),
    ):
        judge(table, what, Spread.of([value]), Goal(at_most=most))
    return table
