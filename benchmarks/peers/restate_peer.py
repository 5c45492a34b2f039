"""Restate: its server from npm, its Python SDK under Hypercorn, as its own pages say."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.finishes import Finishes
from benchmarks.http_client import HttpConnection, post
from benchmarks.peers import installed
from benchmarks.processes import ROOT, free_port, scratch, spawned, until
from benchmarks.sides import LANES_MAX, NEEDED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOME = ROOT / ".cache/peers/restate"
PYTHON = HOME / "bin/python"
_PACKAGES = HOME / "node_modules/@restatedev"


class RestateSession:
    """A server and its service; runs are started over the ingress, without waiting for them."""

    def __init__(
        self, *, finishes: Finishes, pids: dict[str, int], lanes: list[HttpConnection], port: int
    ) -> None:
        self.finishes = finishes
        self.pids = pids
        self._lanes = lanes
        self._port = port

    async def start(self, work: str, number: int, lane: int) -> None:
        await self._lanes[lane].ask(post(self._port, f"/bench/{work}/send", b"%d" % number))


class RestatePeer:
    """A single node with its defaults.

    Args:
        loop: Of its worker: `asyncio`, as Hypercorn has it by default, or `uvloop`.
    """

    durability = "its log and state in RocksDB, with fsync (its defaults)"
    share = 1.0

    def __init__(self, loop: str = "asyncio") -> None:
        self._loop = loop
        self.name = "restate" if loop == "asyncio" else f"restate {loop}"

    @property
    def version(self) -> str:
        package = json.loads((_PACKAGES / "restate-server/package.json").read_text())
        sdk = installed(HOME, "restate_sdk")
        where = f"Hypercorn (HTTP/2, {self._loop})"
        return f"restate-server {package['version']}, Python SDK {sdk} on {where}"

    def missing(self) -> str | None:
        if installed(HOME, "restate_sdk") is None or _binary() is None:
            return f"{HOME.relative_to(ROOT)} is not there; {NEEDED} and npm"
        return None

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[RestateSession]:
        binary = _binary()
        assert binary is not None, "it was asked what is missing"
        ingress, admin, node, service = (free_port() for _ in range(4))
        with scratch() as folder:
            log = folder / "server.log"
            async with (
                Finishes() as finishes,
                aiohttp.ClientSession() as http,
                spawned(
                    str(binary),
                    "--no-logo",
                    f"--base-dir={folder / 'data'}",
                    folder=folder,
                    log=log.name,
                    environment={
                        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
                        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
                        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
                        "RESTATE_LISTEN_MODE": "tcp",
                        "RESTATE_DISABLE_TELEMETRY": "true",
                    },
                    ending=signal.SIGKILL,
                ) as server,
                spawned(
                    str(PYTHON),
                    str(ROOT / "benchmarks/peers/restate_worker.py"),
                    str(finishes.port),
                    str(service),
                    self._loop,
                    folder=folder,
                    log="worker.log",
                    ending=signal.SIGKILL,
                ) as worker,
            ):

                async def registered() -> bool:
                    with contextlib.suppress(aiohttp.ClientError):
                        uri = {"uri": f"http://127.0.0.1:{service}"}
                        url = f"http://127.0.0.1:{admin}/deployments"
                        async with http.post(url, json=uri) as answer:
                            return answer.status in (200, 201)
                    return False

                async def listens() -> bool:
                    return finishes.has_worker

                await until(listens, worker, folder / "worker.log")
                await until(registered, server, log, poll_s=0.1)
                lanes = [await HttpConnection.open(ingress) for _ in range(LANES_MAX)]
                yield RestateSession(
                    finishes=finishes,
                    pids={"server": server.pid, "worker": worker.pid},
                    lanes=lanes,
                    port=ingress,
                )
                for lane in lanes:
                    lane.close()


def _binary() -> Path | None:
    """The program itself: what npm puts into `.bin` is a script that starts it."""
    return next(iter(sorted(_PACKAGES.glob("restate-server-*/bin/restate-server"))), None)
