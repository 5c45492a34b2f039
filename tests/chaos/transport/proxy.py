"""A network between workers and their server that can be cut, in silence or by resets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

from tests.compat.lasting_server import free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine

_PIECE_BYTES = 64 * 2**10
_CALL_S = 10.0
_RESETS = struct.pack("ii", 1, 0)  # SO_LINGER with no time: a close is a reset


class Proxy:
    """Passes TCP on from a port of its own to another; entered, it runs on a thread of its own.

    Attributes:
        port: Where it listens, also after it was cut.
    """

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._flows = asyncio.Event()
        self._flows.set()
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_exc: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- faults ---

    def stall(self) -> None:
        """Keep every connection, take new ones, and pass on nothing: a cable that was pulled."""
        self._call(self._stall())

    def reset(self) -> None:
        """Reset every connection and refuse new ones: a machine that is gone."""
        self._call(self._reset())

    def heal(self) -> None:
        """Pass everything on again, first what was held back."""
        self._call(self._heal())

    # --- on the loop ---

    def _call(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._relay, "127.0.0.1", self.port, reuse_address=True
        )

    async def _stall(self) -> None:
        self._flows.clear()

    async def _reset(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._open):
            _reset(writer)

    async def _heal(self) -> None:
        self._flows.set()
        if self._listener is None:
            await self._listen()

    async def _end(self) -> None:
        self._flows.set()
        await self._reset()
        ours = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not ours]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._flows.wait()
            try:
                there = await asyncio.open_connection("127.0.0.1", self._target_port)
            except OSError:  # the server is away
                _reset(writer)
                return
            self._open.add(there[1])
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, there[1]))
                    tasks.create_task(self._pump(there[0], writer))
            finally:
                self._open.discard(there[1])
                there[1].close()
        except asyncio.CancelledError:  # the proxy ends: nobody asks for this task's result
            return
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on until one side ends, then end the other likewise."""
        try:
            while data := await reader.read(_PIECE_BYTES):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            await self._flows.wait()
            _reset(writer)
            return
        await self._flows.wait()
        with contextlib.suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
    writer.transport.abort()
