"""What the machine can do at best: the disk, SQLite, a WebSocket, HTTP."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import picows

from benchmarks import progress
from benchmarks.disk import fdatasyncs, timed
from benchmarks.http_client import flood, post
from benchmarks.processes import scratch
from benchmarks.raw import endpoint
from benchmarks.samples import Spread, quantile
from benchmarks.tables import Table
from stepwell.store.sqlite.connections import open_writer

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.plan import Plan

BATCH_ROWS = 100
FRAME_BYTES = 256
ECHO_IN_FLIGHT = 50
ECHO_WAIT_S = 10.0
BODY = b'{"name":"bench/no","data":{"n":1}}'


async def run(plan: Plan) -> list[Table]:
    rates: dict[str, list[float]] = {}
    waits_us: dict[str, list[float]] = {}

    def note(name: str, durations_s: list[float], took_s: float, each: int = 1) -> None:
        rates.setdefault(name, []).append(each * len(durations_s) / took_s)
        waits_us.setdefault(name, []).append(1e6 * quantile(durations_s, 0.5))

    for number in range(plan.repeat):
        progress.show(f"limits, repetition {number + 1} of {plan.repeat}")
        with scratch() as folder:
            note("fdatasync after 4 KiB", *fdatasyncs(folder / "file", plan.limit_s))
        for rows in (1, BATCH_ROWS):
            with scratch() as folder:
                name = (
                    "SQLite rows, each committed" if rows == 1 else f"SQLite rows, {rows} a commit"
                )
                note(name, *_commits(folder / "raw.db", rows, plan.limit_s), each=rows)
        async with endpoint("echo") as port:
            for in_flight in (1, ECHO_IN_FLIGHT):
                name = f"WebSocket echoes, {in_flight} in flight"
                note(name, *await _echoes(port, in_flight, plan.limit_s))
        async with endpoint("http") as port:
            for connections in (1, 50):
                sent = await flood(
                    port,
                    post(port, "/", BODY),
                    connections=connections,
                    warm_up_s=0.2,
                    seconds=plan.limit_s,
                )
                name = f"empty HTTP endpoint, {connections} in flight"
                note(name, [ms / 1000 for ms in sent.latencies_ms], sent.took_s)
    table = Table(
        "Raw limits",
        f"SQLite: apsw, WAL, synchronous=FULL, 50-byte rows. WebSocket: picows, one connection, "
        f"{FRAME_BYTES} bytes.\n"
        "HTTP: uvicorn, httptools, uvloop, body decoded by msgspec.",
        ("what", "each s", "least", "most", "p50 us"),
    )
    for name, values in rates.items():
        table.add(name, *Spread.of(values).cells(), Spread.of(waits_us[name]).median)
    return [table]


def _commits(path: Path, rows: int, seconds: float) -> tuple[list[float], float]:
    """With the connection that the store uses; the first half second warms its log."""
    connection = open_writer(path)
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
    execute = connection.cursor().execute
    content = b"x" * 50

    def one() -> None:
        execute("BEGIN IMMEDIATE")
        for _ in range(rows):
            execute("INSERT INTO t (b) VALUES (?)", (content,))
        execute("COMMIT")

    timed(one, 0.5)
    try:
        return timed(one, seconds)
    finally:
        connection.close()


class _Echoes(picows.WSListener):
    """Keeps some frames in flight, and times how long each takes to come back."""

    def __init__(self, in_flight: int, seconds: float) -> None:
        super().__init__()
        self.durations_s: list[float] = []
        self.over: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._in_flight = in_flight
        self._seconds = seconds
        self._frame = b"x" * FRAME_BYTES

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._begun = time.perf_counter()
        self._sent = [self._begun] * self._in_flight
        self._next = 0  # echoes come back in order
        for _ in range(self._in_flight):
            transport.send(picows.WSMsgType.BINARY, self._frame)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        now = time.perf_counter()
        place = self._next
        self._next = (place + 1) % self._in_flight
        self.durations_s.append(now - self._sent[place])
        if now - self._begun < self._seconds:
            self._sent[place] = now
            transport.send(picows.WSMsgType.BINARY, self._frame)
        elif not self.over.done():
            self.over.set_result(now - self._begun)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if not self.over.done():
            self.over.set_exception(ConnectionError("the echo's connection was lost"))


async def _echoes(port: int, in_flight: int, seconds: float) -> tuple[list[float], float]:
    transport, listener = await picows.ws_connect(
        lambda: _Echoes(in_flight, seconds), f"ws://127.0.0.1:{port}/"
    )
    assert isinstance(listener, _Echoes), "the factory makes it"
    try:
        async with asyncio.timeout(seconds + ECHO_WAIT_S):
            took_s = await listener.over
    finally:
        transport.disconnect()
    return listener.durations_s, took_s
