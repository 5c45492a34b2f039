"""Uvicorn's HTTP protocol with bounds on a request's head: its bytes and its time.

Uvicorn bounds neither, so one client could fill the memory with headers, and many could hold
connections on which they never ask for anything. Bodies are bounded where they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_BYTES_MAX = 64 * 2**10
HEAD_WAIT_S = 10.0
"""From the opening of a connection, or the first byte of a later request, to the head's end."""

_TOO_LARGE = b"431 Request Header Fields Too Large", b"the request's head is over 64 KiB"
_TOO_SLOW = b"408 Request Timeout", b"the request's head was not complete in time"


class BoundedHttp(HttpToolsProtocol):
    """Costs a request two comparisons, unless its head comes in pieces."""

    head_wait_s = HEAD_WAIT_S

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_wait_s, self._refuse, *_TOO_SLOW)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head:
            self._head_bytes = 0
            self._stop_timer()
        elif self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(*_TOO_LARGE)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_wait_s, self._refuse, *_TOO_SLOW)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def _refuse(self, status: bytes, text: bytes) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        self.transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (status, len(text), text)
        )
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
