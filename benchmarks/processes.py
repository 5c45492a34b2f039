"""Processes that a benchmark starts, and what the kernel tells of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / ".cache/bench"
"""Data directories lie here and not in a temporary directory, which may be in memory."""

IMPORTS = {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
}
"""The environment of a process that runs a module of this package."""

START_WAIT_S = 30.0
END_WAIT_S = 15.0
_POLL_S = 0.005
_LOG_TAIL_BYTES = 2_000


class NotStarted(Exception):
    """A process ended, or did not answer in time; the message has the end of its log."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A new directory on the disk that is measured; it is deleted in the end."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        yield Path(folder)


@contextlib.asynccontextmanager
async def spawned(
    *command: str,
    folder: Path,
    log: str,
    environment: Mapping[str, str] | None = None,
    ending: signal.Signals = signal.SIGTERM,
) -> AsyncIterator[Process]:
    """Run a program in `folder`, its output in the file `log` there; end it on leaving.

    The variables of this process that set up a server or an SDK are not handed down. `ending` is
    SIGKILL for what takes long to leave and has nothing to lose.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STEPWELL_", "INNGEST_", "RESTATE_", "DBOS_"))
    }
    with (folder / log).open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env={**kept, **(environment or {})}, stdout=output, stderr=output
        )
    try:
        yield process
    except Exception as error:
        error.add_note(f"{log}: {_tail(folder / log)}")
        raise
    finally:
        await _stop(process, ending)


async def until(
    ready: Callable[[], Awaitable[bool]], process: Process, log: Path, *, poll_s: float = _POLL_S
) -> None:
    """Wait until `ready` says so.

    Raises:
        NotStarted: The process ended first, or it took too long.
    """
    deadline = time.monotonic() + START_WAIT_S
    while True:
        if process.returncode is not None:
            raise NotStarted(f"it ended with status {process.returncode}: {_tail(log)}")
        if await ready():
            return
        if time.monotonic() > deadline:
            raise NotStarted(f"it was not ready after {START_WAIT_S:g} s: {_tail(log)}")
        await asyncio.sleep(poll_s)


def rss_mb(pid: int) -> float:
    """Resident memory of a process, in millions of bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(pid: int) -> float:
    """Seconds of CPU that all threads of a process have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _stop(process: Process, ending: signal.Signals) -> None:
    """End a process as asked, then in any case."""
    if process.returncode is not None:
        return
    process.send_signal(ending)
    try:
        async with asyncio.timeout(END_WAIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _tail(log: Path) -> str:
    text = log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
    return text or "(it logged nothing)"
