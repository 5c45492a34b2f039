"""DBOS on SQLite: a library in the worker's process, without a server."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

from benchmarks.finishes import Finishes
from benchmarks.peers import installed
from benchmarks.processes import ROOT, scratch, spawned, until
from benchmarks.sides import NEEDED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOME = ROOT / ".cache/peers/dbos"
PYTHON = HOME / "bin/python"


class DbosSession:
    """A worker that starts the runs itself."""

    def __init__(self, *, finishes: Finishes, pids: dict[str, int]) -> None:
        self.finishes = finishes
        self.pids = pids

    async def start(self, work: str, number: int, lane: int) -> None:
        """Send the order. Nothing says when it was accepted, so the lane does not wait for it."""
        del lane
        self.finishes.order(f"{work} {number}")


class DbosPeer:
    """One process with DBOS's defaults."""

    name = "dbos"
    durability = "SQLite, rollback journal, synchronous=FULL (its defaults)"
    share = 0.25

    @property
    def version(self) -> str:
        return f"dbos {installed(HOME, 'dbos')} on SQLite"

    def missing(self) -> str | None:
        if installed(HOME, "dbos") is None:
            return f"{HOME.relative_to(ROOT)} is not there; {NEEDED}"
        return None

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[DbosSession]:
        with scratch() as folder:
            async with (
                Finishes() as finishes,
                spawned(
                    str(PYTHON),
                    str(ROOT / "benchmarks/peers/dbos_worker.py"),
                    str(finishes.port),
                    str(folder / "dbos.sqlite"),
                    folder=folder,
                    log="worker.log",
                    ending=signal.SIGKILL,
                ) as process,
            ):

                async def connected() -> bool:
                    return finishes.has_worker

                await until(connected, process, folder / "worker.log")
                yield DbosSession(finishes=finishes, pids={"worker": process.pid})
