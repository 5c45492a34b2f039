"""An HTTP/1.1 client that costs next to nothing: what we measure must be the server.

A connection has one request in flight; a request is bytes made beforehand; an answer must tell
its length. Nothing else of HTTP is understood.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CONNECT_WAIT_S = 10.0


class AnswerError(Exception):
    """An answer that is not what the benchmark counts on."""


def post(port: int, path: str, body: bytes) -> bytes:
    """A whole request with a JSON body."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def get(port: int, path: str) -> bytes:
    """A whole request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


class HttpConnection(asyncio.Protocol):
    """One connection. `on_answer` gets the status and body of each answer, `on_lost` the end."""

    def __init__(self) -> None:
        self.on_answer: Callable[[int, bytes], None] = _unexpected
        self.on_lost: Callable[[AnswerError], None] = self._reject
        self._received = b""
        self._closed: AnswerError | None = None
        self._waiting: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, port: int) -> HttpConnection:
        """Connect to a server on this machine."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_WAIT_S):
            _transport, connection = await loop.create_connection(cls, "127.0.0.1", port)
        return connection

    def send(self, request: bytes) -> None:
        """Send a request; the one before has been answered."""
        self._transport.write(request)

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer.

        Raises:
            AnswerError: The status is not 2xx, or the connection was closed.
        """
        if self._closed is not None:
            raise self._closed
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        self.on_answer = self._resolve
        self._transport.write(request)
        return await waiting

    def close(self) -> None:
        self._transport.close()

    # --- what the loop calls ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            self._received = received
            return
        length = _LENGTH.search(received, 0, head_end)
        if length is None:
            self._fail(AnswerError(f"an answer without a length: {received[:200]!r}"))
            return
        body_start = head_end + 4
        body_end = body_start + int(length[1])
        if len(received) < body_end:
            self._received = received
            return
        self._received = b""
        self.on_answer(int(received[9:12]), received[body_start:body_end])

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(AnswerError(f"the server closed the connection: {exc}"))

    def _resolve(self, status: int, body: bytes) -> None:
        if status // 100 != 2:
            self._reject(AnswerError(f"status {status}: {body[:500]!r}"))
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(body)

    def _reject(self, error: AnswerError) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    def _fail(self, error: AnswerError) -> None:
        if self._closed is None:
            self._closed = error
            self.on_lost(error)
        self._transport.close()


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    """What came of sending as fast as answers came."""

    answers: int
    took_s: float
    latencies_ms: list[float]
    client_cpu_s: float

    @property
    def per_second(self) -> float:
        return self.answers / self.took_s

    @property
    def client_cores(self) -> float:
        """How busy the load generator was. Near 1, it is what was measured."""
        return self.client_cpu_s / self.took_s


async def flood(
    port: int, request: bytes, *, connections: int, warm_up_s: float, seconds: float
) -> Flood:
    """Send one request over and over on each of some connections.

    Raises:
        AnswerError: An answer other than 2xx, or a lost connection.
    """
    opened = [await HttpConnection.open(port) for _ in range(connections)]
    try:
        await _Pump(opened, request).run(warm_up_s)
        return await _Pump(opened, request).run(seconds)
    finally:
        for connection in opened:
            connection.close()


class _Pump:
    """Keeps one request in flight on each connection, until the time is over."""

    def __init__(self, connections: list[HttpConnection], request: bytes) -> None:
        self._connections = connections
        self._request = request
        self._latencies_s: list[float] = []
        self._in_flight = 0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, seconds: float) -> Flood:
        cpu_s = time.process_time()
        begun = time.perf_counter()
        self._end = begun + seconds
        for connection in self._connections:
            self._drive(connection)
        async with asyncio.timeout(seconds + _CONNECT_WAIT_S):
            await self._over
        return Flood(
            answers=len(self._latencies_s),
            took_s=time.perf_counter() - begun,
            latencies_ms=[1000 * latency for latency in self._latencies_s],
            client_cpu_s=time.process_time() - cpu_s,
        )

    def _drive(self, connection: HttpConnection) -> None:
        request, note, clock = self._request, self._latencies_s.append, time.perf_counter
        sent = clock()

        def answered(status: int, body: bytes) -> None:
            nonlocal sent
            now = clock()
            note(now - sent)
            if status != 200:
                self._fail(AnswerError(f"status {status}: {body[:500]!r}"))
            if now < self._end:
                sent = now
                connection.send(request)
            else:
                self._in_flight -= 1
                if not self._in_flight and not self._over.done():
                    self._over.set_result(None)

        connection.on_answer = answered
        connection.on_lost = self._fail
        self._in_flight += 1
        connection.send(request)

    def _fail(self, error: AnswerError) -> None:
        if not self._over.done():
            self._over.set_exception(error)


def _unexpected(status: int, body: bytes) -> None:
    raise AnswerError(f"an answer that nobody asked for: {status} {body[:200]!r}")
