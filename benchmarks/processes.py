"""The processes of a benchmark: a server on its own data directory, workers, and their figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parent.parent
OFFICIAL_PYTHON = ROOT / ".cache/official-py/bin/python"
READY_TIMEOUT_S = 20


class RunningServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server process. `ready_s` is from its start to its first 200 from `/ready`."""

    url: str
    pid: int
    ready_s: float


@contextlib.asynccontextmanager
async def server(*arguments: str) -> AsyncIterator[RunningServer]:
    """`stepwell dev` with SQLite in a new directory, durable as it is by default."""
    with tempfile.TemporaryDirectory(prefix="stepwell-bench-") as folder:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "stepwell.cli",
            "dev",
            f"--port={port}",
            "--connect-gateway-port=0",
            f"--data-dir={folder}/data",
            "--log-level=error",
            *arguments,
            cwd=folder,
        )
        try:
            await _until_ready(url, process)
            yield RunningServer(url=url, pid=process.pid, ready_s=time.perf_counter() - begun)
        finally:
            await stop(process)


@contextlib.asynccontextmanager
async def worker(sdk: str, url: str) -> AsyncIterator[Finishes]:
    """A worker process on `url` with `stepwell` or with `inngest`, connected."""
    finishes = Finishes()
    listener = await asyncio.start_server(finishes.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    python = sys.executable if sdk == "stepwell" else str(OFFICIAL_PYTHON)
    process = await asyncio.create_subprocess_exec(
        python,
        str(ROOT / "benchmarks/worker.py"),
        sdk,
        str(port),
        env={**os.environ, "INNGEST_DEV": url, "STEPWELL_DEV": url},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _until_connected(url)
        yield finishes
    finally:
        await stop(process)
        listener.close()


class Finishes:
    """What the worker told: when each run reached its last line."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[float]] = {}

    def expect(self, number: int) -> asyncio.Future[float]:
        """A future of the time (`time.perf_counter`) at which run `number` ends."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        return future

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            future = self._waiting.pop(int(line), None)
            if future is not None and not future.done():
                future.set_result(time.perf_counter())
        writer.close()


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a process politely, then not."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(10):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def rss_mib(pid: int) -> float:
    """Resident memory of a process, MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(READY_TIMEOUT_S):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"the server ended with status {process.returncode}")
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{url}/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.005)


async def _until_connected(url: str) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(READY_TIMEOUT_S):
        while True:
            async with http.get(f"{url}/v2/workers") as answer:
                listed = json.loads(await answer.read()).get("data", [])
                if any(entry["status"] == "READY" for entry in listed):
                    return
            await asyncio.sleep(0.02)
