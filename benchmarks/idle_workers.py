"""Workers that have nothing to do, as many as asked, in a process of their own.

Usage: python -m benchmarks.idle_workers API_URL FIRST COUNT

They beat every ten seconds, as workers do. Two lines on standard output: one when all are ready,
and at SIGTERM what they have seen since.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import uvloop

from benchmarks.fleet import fleet
from benchmarks.open_files import allow_sockets
from benchmarks.processes import IMPORTS, scratch, spawned, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HEARTBEAT_S = 10.0
PROCESSES = 2


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers of one process saw.

    `ready_s` is from the first dial to the last worker's readiness, `heartbeats_s` from each
    heartbeat to the answer to it.
    """

    ready_s: float = 0.0
    heartbeats_s: list[float] = []
    sockets_lost: int = 0


class Idle:
    """Processes of idle workers. `watched` is there when they have ended."""

    def __init__(self) -> None:
        self.ready_s = 0.0
        self.watched: list[Watched] = []


@contextlib.asynccontextmanager
async def idle_workers(api_url: str, count: int) -> AsyncIterator[Idle]:
    """So many ready workers, half of them in each of two processes."""
    made = Idle()
    each = count // PROCESSES
    with scratch() as folder:
        logs = [folder / f"idle-{number}.log" for number in range(PROCESSES)]
        async with contextlib.AsyncExitStack() as stack:
            processes = [
                await stack.enter_async_context(
                    spawned(
                        sys.executable,
                        "-m",
                        "benchmarks.idle_workers",
                        api_url,
                        str(number * each),
                        str(each),
                        folder=folder,
                        log=log.name,
                        environment=IMPORTS,
                    )
                )
                for number, log in enumerate(logs)
            ]
            for process, log in zip(processes, logs, strict=True):
                await until(partial(_is_ready, log), process, log)
            made.ready_s = max(_read(log, 0).ready_s for log in logs)
            yield made
        made.watched = [_read(log, 1) for log in logs]


async def _is_ready(log: Path) -> bool:
    return bool(_lines(log))


def _lines(log: Path) -> list[bytes]:
    """Those that are whole."""
    return log.read_bytes().split(b"\n")[:-1]


def _read(log: Path, line: int) -> Watched:
    try:
        return msgspec.json.decode(_lines(log)[line], type=Watched)
    except (IndexError, msgspec.DecodeError) as error:
        raise RuntimeError(f"idle workers ended early: {log.read_text()[-2_000:]}") from error


def main() -> None:
    api_url, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    allow_sockets(count)
    uvloop.run(_idle(api_url, first, count))


async def _idle(api_url: str, first: int, count: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    begun = time.perf_counter()
    async with fleet(api_url, count, first=first, heartbeat_s=HEARTBEAT_S) as workers:
        _say(Watched(ready_s=time.perf_counter() - begun))
        await ended.wait()
        seen = workers.seen
        _say(Watched(heartbeats_s=seen.heartbeats_s, sockets_lost=seen.sockets_lost))


def _say(watched: Watched) -> None:
    print(msgspec.json.encode(watched).decode(), flush=True)


if __name__ == "__main__":
    main()
