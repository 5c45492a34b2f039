"""Uvicorn's HTTP protocol with bounds on a request's head, its bytes and its time, and on requests.

Uvicorn bounds none of them, so one client could fill the memory with headers, or with requests
faster than they are answered, and many could hold connections on which they never ask for anything.
Bodies are bounded where they are read.

A client may send the next request before it has the answer to the last one. What is wrong with
the next one's head is told only then, or it would be taken for that answer; its time runs from
then on, because nothing may have been read meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sized

HEAD_BYTES_MAX = 64 * 2**10
HEAD_WAIT_S = 10.0
"""From the opening of a connection, or the first byte of a later request, to the head's end."""

_TOO_LARGE = b"431 Request Header Fields Too Large", b"the request's head is over 64 KiB"
_TOO_SLOW = b"408 Request Timeout", b"the request's head was not complete in time"


class BoundedHttp(HttpToolsProtocol):
    """Costs a request a few comparisons, unless its head comes in pieces."""

    head_wait_s = HEAD_WAIT_S

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._in_head = True
        self._in_body = False
        self._head_ended = False  # in the packet that is being parsed
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        is_head_only = not self._in_body
        self._head_ended = False
        super().data_received(data)
        if not self._in_head:
            self._head_bytes = 0
            self._stop_timer()
        elif is_head_only and not self._head_ended:
            self._head_bytes += len(data)
            self._check_head()
        else:
            # The head begins somewhere in this packet, which is too short to do harm.
            self._head_bytes = 1
            self._stop_timer()
            self._check_head()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.note_head_end()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.note_body_end()
        super().on_message_complete()

    def note_head_end(self) -> None:
        """For subclasses that keep the end of a head to themselves."""
        self._in_head, self._in_body, self._head_ended = False, True, True

    def note_body_end(self) -> None:
        """The same for the end of a request."""
        self._in_body = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_head and self._head_bytes and not self.transport.is_closing():
            self._unset_keepalive_if_required()  # the next request has begun
            self._check_head()

    @property
    def owes_answer(self) -> bool:
        """Whether an earlier request has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _check_head(self) -> None:
        """A head is not complete: look at its size, and see that its time runs."""
        if self.owes_answer:
            self._stop_timer()
            if self._head_bytes > HEAD_BYTES_MAX:
                self.flow.pause_reading()
        elif self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(*_TOO_LARGE)
        elif self._head_timer is None:
            self._start_timer()

    def _refuse(self, status: bytes, text: bytes) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        self.transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (status, len(text), text)
        )
        self.transport.close()

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_wait_s, self._on_timer)

    def _on_timer(self) -> None:
        if self._head_bytes:
            self._refuse(*_TOO_SLOW)
        else:  # a spare connection: an answer would be taken for that to a request on its way
            self._head_timer = None
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Flow(FlowControl):
    """Reads no more of a connection while whole requests of it wait for their turn.

    Uvicorn reads on with each answer, and each packet may hold thousands of requests. Only the
    last of those that wait may lack a part of its body, and when its turn comes none waits.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()
