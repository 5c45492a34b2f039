"""A server that comes back at the same addresses, whatever ended it."""

from __future__ import annotations

import os
import socket
from itertools import count
from typing import TYPE_CHECKING

from tests.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Below the ports that connections get by themselves: while the server is away, neither another
# program's connection nor a worker's own attempt to reach it can take its port.
_FIRST_PORT = 10_000
_PORTS = 2_000
_PROCESSES = 10


class LastingServer(ServerProcess):
    """As its base, with ports and data that stay the same over `kill` and `start`."""

    def __init__(
        self,
        *arguments: str,
        data_dir: Path,
        mode: str = "dev",
        environ: Mapping[str, str] | None = None,
        module: str = "stepwell.cli",
    ) -> None:
        self.data_dir = data_dir
        super().__init__(
            "--port", str(free_port()),
            "--connect-gateway-port", str(free_port()),
            *arguments,
            data_dir=data_dir,
            mode=mode,
            environ=environ,
            module=module,
        )  # fmt: skip


def free_port() -> int:
    """A port that nobody listens at; each call gives another one."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
    for _ in range(_PORTS):
        port = _FIRST_PORT + process * _PORTS + next(_NUMBERS) % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")


_NUMBERS = count(os.getpid())  # two runs of the suite on one machine seldom meet
