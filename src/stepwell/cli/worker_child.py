"""A process that a supervisor of `stepwell worker` started, from the supervisor's side.

It is in a session of its own, so that Ctrl-C in a terminal reaches it through the supervisor, once,
and it notices by a pipe when the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import os
import socket as sockets
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from stepwell.connect.health import LIVE_PATH, Health

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

HEALTH_TIMEOUT_S = 1.0
HEALTH_BYTES_MAX = 64 * 2**10
BACKLOG = 16

_HEALTH = msgspec.json.Decoder(Health)


class Child:
    """One of them. Made by `start_child`."""

    def __init__(
        self, process: asyncio.subprocess.Process, *, health_port: int, lifeline: int
    ) -> None:
        self._process = process
        self._health_port = health_port
        self._lifeline = lifeline
        self._started_s = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def held_ms(self) -> int:
        """How long ago it was started."""
        return int((time.monotonic() - self._started_s) * 1000)

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def ended(self) -> int:
        """Wait for its end, and give the exit code; negative for a signal."""
        code = await self._process.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        return code

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def health(self) -> Health | None:
        """What it says of itself; None if it says nothing yet, or any more."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                return await self._ask()
        except (OSError, TimeoutError, EOFError, msgspec.DecodeError):
            return None

    async def _ask(self) -> Health:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._health_port)
        try:
            writer.write(f"GET {LIVE_PATH} HTTP/1.1\r\nHost: worker\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            return _HEALTH.decode(await reader.read(HEALTH_BYTES_MAX))
        finally:
            writer.close()


async def start_child(words: Sequence[str]) -> Child:
    """Start a process of `stepwell worker` with these words."""
    with sockets.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        its_end, lifeline = os.pipe()
        fds = (listener.fileno(), its_end)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "stepwell.cli", "worker", *words),
                *("--health-fd", str(fds[0]), "--lifeline-fd", str(fds[1])),
                pass_fds=fds,
                start_new_session=True,
            )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(its_end)
        port = listener.getsockname()[1]
    return Child(process, health_port=port, lifeline=lifeline)
