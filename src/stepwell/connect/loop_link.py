"""A socket with TLS or through a proxy: on the protocol's loop, with all that goes with it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

from stepwell.connect.http import ServerUnreachable
from stepwell.connect.link import Link

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from stepwell.connect.session import Session


class LoopLink(Link):
    """See `Link`."""

    def __init__(self, socket: ClientConnection, session: Session, **common: Any) -> None:
        super().__init__(session, **common)
        self._socket = socket
        self._thread_id = threading.get_ident()
        self._was_kicked = False  # by another thread, and not yet by the loop
        self._unsent_bytes = 0  # at the last look
        self._writable = asyncio.Event()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write())
                with self._lock:
                    self.kick()
                await self._read()
                writer.cancel()
        finally:
            with self._lock:
                self.session.lost()
            self._disarm()
            self._abort()
            said = f" with {self.close_reason!r}" if self.close_reason else ""
            self.refuse(ServerUnreachable(f"the gateway closed the socket{said}"))

    def kick(self) -> None:
        if threading.get_ident() != self._thread_id:
            if not self._was_kicked:
                self._was_kicked = True
                self._loop.call_soon_threadsafe(self._kicked)
            return
        for fact in self.session.take_facts():
            self._on_fact(self, fact)
        self._writable.set()
        self._arm()

    def _kicked(self) -> None:
        with self._lock:
            self._was_kicked = False
            self.kick()

    def _abort(self) -> None:
        self._socket.transport.abort()

    async def _read(self) -> None:
        session, loop, recv = self.session, self._loop, self._socket.recv
        try:
            while True:
                message = await recv()
                with self._lock:
                    if isinstance(message, str):
                        session.receive_garbage()
                    else:
                        session.receive(message, int(loop.time() * 1000))
                    self.kick()
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                self.close_code, self.close_reason = closed.rcvd.code, closed.rcvd.reason

    async def _write(self) -> None:
        socket, session, writable = self._socket, self.session, self._writable
        try:
            while True:
                await writable.wait()
                writable.clear()
                while True:
                    with self._lock:
                        output = session.take_output()
                    if output is None:
                        break
                    for message in output.messages:
                        await socket.send(message)
                    with self._lock:
                        session.messages_left()
                    for request_id, message in output.replies:
                        await socket.send(message)
                        with self._lock:
                            session.moved()
                            self._on_reply_left(self, request_id)
                    if output.close is not None:
                        await socket.close(output.close.code, output.close.reason)
                        return
        except ConnectionClosed:
            return  # the reader sees it too

    def _wake(self) -> None:
        with self._lock:
            self._timer = None
            unsent_bytes = self._socket.transport.get_write_buffer_size()
            if unsent_bytes < self._unsent_bytes:
                self.session.moved()
            self._unsent_bytes = unsent_bytes
            self.session.wake(self._due_ms())
            self.kick()
