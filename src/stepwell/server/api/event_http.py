"""The API's HTTP protocol: a short way for events, uvicorn's own for everything else.

A request with events that came in one piece needs nothing of what ASGI is for: no task, no scope,
no waiting for a body. It is taken while the parser reports its end, and answered by one write when
it is on disk; that is half of what it costs otherwise. Whatever is special (another method or
header, a body in pieces, an answer still owed on this connection, a client that does not read, a
mistake in the events) goes the long way, so there is one place that knows what to say about it.

Until a request's end is seen, nothing is decided: uvicorn hears of its head late, not of less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from stepwell.server.api.auth import EVENTS_PATH
from stepwell.server.api.http_protocol import BoundedHttp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.errors import StepwellError
    from stepwell.server.api.edge import Edge
    from stepwell.wire.ids import EventId

_LONG_WAY: Final = frozenset({b"expect", b"origin", b"transfer-encoding", b"upgrade"})
"""Headers that make a request special."""


class EventHttp(BoundedHttp):
    """Serves one connection.

    Args:
        edge: The application that uvicorn was given, for what does not go through ASGI.
    """

    def __init__(self, *args: Any, edge: Edge, **named: Any) -> None:
        super().__init__(*args, **named)
        self._edge = edge
        self._intake = edge.intake
        self._is_short = False  # the request that is being read may go the short way
        self._short_headers: dict[bytes, bytes] = {}
        self._short_body = b""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_short:  # but the rest of its body is still to come
            self._go_long_way()

    def on_headers_complete(self) -> None:
        if self._intake.opens(self.url) and self._is_simple():
            self._is_short = True
            self._short_body = b""
            self.note_head_end()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._is_short:
            self._short_body = body  # all that the packet has of it
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_short and self._submit():
            self._is_short = False
            self.note_body_end()
            return
        if self._is_short:
            self._go_long_way()
        super().on_message_complete()

    def _is_simple(self) -> bool:
        self._short_headers = dict(self.headers)
        parser = self.parser
        return (
            not self.owes_answer
            and not self.flow.write_paused
            and _LONG_WAY.isdisjoint(self._short_headers)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
        )

    def _submit(self) -> bool:
        """Take the events; False if that cannot be, and then nothing was stored."""
        before = self.cycle
        owed = _OwedAnswer(self)
        self.cycle = owed  # type: ignore[assignment]
        try:
            self._intake.submit(self._short_body, self._short_headers, owed.give)
        except Exception:
            # Whatever is wrong shows again on the long way, where it is told.
            self.cycle = before
            return False
        self._short_body = b""  # it may be large, and the connection idle from now on
        return True

    def _go_long_way(self) -> None:
        """Let uvicorn hear what it has not heard of this request."""
        self._is_short = False
        body, self._short_body = self._short_body, b""
        if self.transport.is_closing():
            return
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def answer(
        self, ids: Sequence[EventId], error: StepwellError | None, *, keep_alive: bool
    ) -> None:
        """The events of a request are on disk, or there is a reason why not."""
        if not self.transport.is_closing():
            self.transport.write(
                self._intake.answer(ids, keep_alive=keep_alive)
                if error is None
                else self._refusal(error, keep_alive=keep_alive)
            )
            if not keep_alive:
                self.transport.close()
        self.on_response_complete()

    def _refusal(self, error: StepwellError, *, keep_alive: bool) -> bytes:
        response = self._edge.refusal(error, EVENTS_PATH)
        lines = [b"%b: %b\r\n" % header for header in response.raw_headers]
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        return b"".join((STATUS_LINE[response.status_code], *lines, b"\r\n", bytes(response.body)))


class _NobodyWaits:
    def set(self) -> None:
        """Nothing waits for a body or for the end of the connection."""


class _OwedAnswer:
    """Stands where uvicorn keeps the request that it works on, with what it looks at there.

    Source: `uvicorn.protocols.http.httptools_impl`, `HttpToolsProtocol`: `shutdown`,
    `connection_lost`, `on_headers_complete`.
    """

    __slots__ = ("_http", "disconnected", "keep_alive", "response_complete")

    message_event = _NobodyWaits()

    def __init__(self, http: EventHttp) -> None:
        self._http = http
        self.disconnected = False
        self.keep_alive = True  # until the server leaves
        self.response_complete = False

    def give(self, ids: Sequence[EventId], error: StepwellError | None) -> None:
        """The answer has come."""
        self.response_complete = True
        self._http.answer(ids, error, keep_alive=self.keep_alive)
