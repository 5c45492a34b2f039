"""Our server, under a worker with our SDK or with the official one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import sys
import time
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from benchmarks.finishes import Finishes
from benchmarks.http_client import HttpConnection, post
from benchmarks.processes import ROOT, free_port, scratch, spawned, until
from benchmarks.sides import NEEDED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.faulty_disk.orders import FaultyDisk

DURABILITY = "SQLite, WAL, synchronous=FULL: an answer comes after its fsync"
WORKER = str(ROOT / "benchmarks/worker.py")
OFFICIAL_PYTHON = ROOT / ".cache/official-py/bin/python"


class RunningServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server process. `ready_s` is from its start to its first 200 from `/ready`."""

    port: int
    pid: int
    ready_s: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def server(
    data: Path | None = None, *more: str, disk: FaultyDisk | None = None
) -> AsyncIterator[RunningServer]:
    """`stepwell dev` on the data directory `data`, or on an empty one; durable, as by default.

    Args:
        more: Further options of the command line.
        disk: What goes wrong by order; else the disk is as it is.
    """
    with scratch() as folder:
        port = free_port()
        begun = time.perf_counter()
        async with (
            spawned(
                sys.executable,
                "-m",
                "tests.faulty_disk" if disk else "stepwell.cli",
                "dev",
                f"--port={port}",
                "--connect-gateway-port=0",
                "--no-discovery",
                f"--data-dir={data or folder / 'data'}",
                "--log-level=error",
                *more,
                folder=folder,
                log="server.log",
                environment=disk.environ if disk else None,
            ) as process,
            aiohttp.ClientSession() as http,
        ):

            async def ready() -> bool:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"http://127.0.0.1:{port}/ready") as answer:
                        return answer.status == 200
                return False

            await until(ready, process, folder / "server.log")
            yield RunningServer(port=port, pid=process.pid, ready_s=time.perf_counter() - begun)


class OurSession:
    """A server and its worker; runs are started by events."""

    def __init__(self, *, finishes: Finishes, pids: dict[str, int], port: int) -> None:
        self.finishes = finishes
        self.pids = pids
        self._lanes: dict[int, HttpConnection] = {}  # opened when used: spare ones are closed
        self._port = port

    async def start(self, work: str, number: int, lane: int) -> None:
        event = b'{"name":"bench/%b","data":{"n":%d}}' % (work.encode(), number)
        connection = self._lanes.get(lane)
        if connection is None:
            connection = self._lanes[lane] = await HttpConnection.open(self._port)
        await connection.ask(post(self._port, "/e/bench", event))

    def close(self) -> None:
        for connection in self._lanes.values():
            connection.close()


@contextlib.asynccontextmanager
async def worker(
    sdk: str, running: RunningServer, *, checkpointing: str = ""
) -> AsyncIterator[OurSession]:
    """A worker process with the SDK `stepwell` or `inngest`, connected to a server.

    Args:
        checkpointing: A preset's name, for our SDK; without it a call runs one step.
    """
    python = sys.executable if sdk == "stepwell" else str(OFFICIAL_PYTHON)
    async with Finishes() as finishes, aiohttp.ClientSession() as http:
        with scratch() as folder:
            async with spawned(
                python,
                WORKER,
                sdk,
                str(finishes.port),
                *([checkpointing] if checkpointing else []),
                folder=folder,
                log="worker.log",
                environment={"INNGEST_DEV": running.url, "STEPWELL_DEV": running.url},
            ) as process:

                async def connected() -> bool:
                    async with http.get(f"{running.url}/v2/workers") as answer:
                        listed = json.loads(await answer.read()).get("data", [])
                        return any(entry["status"] == "READY" for entry in listed)

                await until(connected, process, folder / "worker.log")
                session = OurSession(
                    finishes=finishes,
                    pids={"server": running.pid, "worker": process.pid},
                    port=running.port,
                )
                yield session
                session.close()


class OurSide:
    """Our server with one of the two SDKs; ours also with a preset of checkpointing."""

    share = 1.0

    def __init__(self, sdk: str, checkpointing: str = "") -> None:
        self._sdk = sdk
        self._checkpointing = checkpointing
        self.name = "stepwell" if sdk == "stepwell" else "official worker"
        self.version = f"stepwell {importlib.metadata.version('stepwell')}"
        self.durability = DURABILITY
        if sdk == "inngest":
            self.version += ", worker: the official Python SDK"
        if checkpointing:
            self.name += f" {checkpointing}"
            self.version += f", checkpointing: {checkpointing}"
        if checkpointing == "performant":
            self.durability += "; up to a second of steps may have to be run again"

    def missing(self) -> str | None:
        if self._sdk == "inngest" and not OFFICIAL_PYTHON.exists():
            return f"{OFFICIAL_PYTHON.parent.parent.relative_to(ROOT)} is not there; {NEEDED}"
        return None

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[OurSession]:
        async with (
            server() as running,
            worker(self._sdk, running, checkpointing=self._checkpointing) as session,
        ):
            yield session
