"""What a worker tells the driver over TCP: when each run reached its last line.

One clock, the driver's, has both ends of a run, whichever system runs it. A worker that has no
server in front of it gets its orders over the same connection.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Finishes:
    """Listens for one worker while the context is open.

    A line from it is the number of a run that has just ended.
    """

    def __init__(self) -> None:
        self.port = 0
        self._waiting: dict[int, asyncio.Future[float]] = {}
        self._worker: _Lines | None = None

    async def __aenter__(self) -> Finishes:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._worker is not None:
            self._worker.close()
        self._listener.close()
        for future in self._waiting.values():
            future.cancel()

    @property
    def has_worker(self) -> bool:
        return self._worker is not None

    def expect(self, number: int) -> asyncio.Future[float]:
        """A future of the time (`time.perf_counter`) at which run `number` ends."""
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        return future

    def order(self, line: str) -> None:
        """Send the worker a line."""
        assert self._worker is not None, "a worker has connected"
        self._worker.write(line)

    def _accept(self) -> _Lines:
        self._worker = _Lines(self)
        return self._worker

    def ended(self, number: int) -> None:
        """A run reached its last line; one that did so twice counts once."""
        future = self._waiting.pop(number, None)
        if future is not None and not future.done():
            future.set_result(time.perf_counter())


class _Lines(asyncio.Protocol):
    """The worker's connection."""

    def __init__(self, finishes: Finishes) -> None:
        self._finishes = finishes
        self._rest = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._finishes.ended(int(line))

    def write(self, line: str) -> None:
        self._transport.write(line.encode() + b"\n")

    def close(self) -> None:
        self._transport.close()
