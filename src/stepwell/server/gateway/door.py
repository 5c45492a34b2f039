"""A connection on the gateway's port before it is a WebSocket: one HTTP request, one answer.

Bounds: the head has `HEAD_BYTES_MAX`, and comes in the time that the gateway gives; who takes
longer is cut off.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

from stepwell.server.gateway.request import END_OF_HEAD, HEAD_BYTES_MAX, read_request
from stepwell.server.gateway.upgrade import Answer, Upgrade, agree, serialise

if TYPE_CHECKING:
    from stepwell.server.gateway.request import Request
    from stepwell.server.gateway.socket import Socket
    from stepwell.server.gateway.upgrade import Decision

_log = logging.getLogger(__name__)


class House(Protocol):
    """What doors ask of their gateway."""

    def decide(self, request: Request) -> Decision:
        """Answer a request."""
        ...

    def make_socket(self) -> Socket:
        """The protocol of a connection that becomes a WebSocket."""
        ...

    def door_opened(self, door: Door) -> None:
        """Somebody has connected."""
        ...

    def door_closed(self, door: Door) -> None:
        """The connection has ended, or is a WebSocket. Idempotent."""
        ...


class Door(asyncio.Protocol):
    """One connection, until its request is answered.

    Args:
        wait_s: How long the request may take to come.
    """

    def __init__(self, house: House, wait_s: float) -> None:
        self._house = house
        self._wait_s = wait_s
        self._head = bytearray()
        self._is_answered = False

    def abort(self) -> None:
        """Cut TCP."""
        self._tcp.abort()

    # --- what the loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(self._wait_s, self.abort)
        self._house.door_opened(self)

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        searched = max(0, len(self._head) - len(END_OF_HEAD))
        self._head += data
        size = self._head.find(END_OF_HEAD, searched, HEAD_BYTES_MAX)
        try:
            if size >= 0:
                self._take(bytes(self._head[:size]), bytes(self._head[size + len(END_OF_HEAD) :]))
            elif len(self._head) >= HEAD_BYTES_MAX:
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                text = f"the head of a request has at most {HEAD_BYTES_MAX} bytes"
                self._answer(Answer(status=status, text=text))
        except Exception:  # ours: this connection ends, the others go on
            _log.exception("cannot answer a request")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    # --- inside ---

    def _take(self, head: bytes, rest: bytes) -> None:
        request = read_request(head)
        if isinstance(request, Answer):
            self._answer(request)
            return
        decision = self._house.decide(request)
        if isinstance(decision, Upgrade):
            agreed = agree(decision, request.headers)
            if isinstance(agreed, bytes):
                self._turn_into_socket(agreed, request, rest)
                return
            decision = agreed
        self._answer(decision)

    def _answer(self, answer: Answer) -> None:
        self._is_answered = True
        self._head.clear()
        self._tcp.write(serialise(answer))
        self._tcp.close()

    def _turn_into_socket(self, agreed: bytes, request: Request, rest: bytes) -> None:
        self._leave()
        socket = self._house.make_socket()
        self._tcp.set_protocol(socket)
        self._tcp.write(agreed)
        socket.open(self._tcp, request.headers)
        if rest:
            socket.data_received(rest)

    def _leave(self) -> None:
        self._timer.cancel()
        self._house.door_closed(self)
