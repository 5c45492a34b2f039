"""A worker's `/ready` and `/live`, on a port of their own and the protocol's thread.

It speaks as much HTTP as a health check needs: one request without a body, one answer, the end.
Whoever can reach the port may be hostile: the head of a request, the time it takes and the number
of connections are bounded, and when there are too many the oldest goes, so that nobody keeps the
checks out by holding connections open.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from stepwell.connect.health import answer_health, bad_request
from stepwell.errors import ConfigError

if TYPE_CHECKING:
    import socket as sockets
    from collections.abc import AsyncIterator, Callable

    from stepwell.connect.health import Health, HealthAnswer

CONNECTIONS_MAX = 64
HEAD_BYTES_MAX = 8 * 2**10
DEADLINE_S = 5.0  # A check takes milliseconds; Kubernetes gives it one second.


class HealthPort(msgspec.Struct, frozen=True, kw_only=True):
    """Where health checks are answered."""

    host: str
    port: int


HealthPlace: TypeAlias = "HealthPort | sockets.socket"


@asynccontextmanager
async def serving_health(place: HealthPlace, health: Callable[[], Health]) -> AsyncIterator[int]:
    """Answer health checks on the current loop, while the body runs.

    Args:
        place: Where; or a socket that listens already, which is closed at the end.
    Returns:
        The port.
    Raises:
        ConfigError: `port_taken`.
    """
    open_checks: dict[_Check, None] = {}
    loop = asyncio.get_running_loop()

    def check() -> _Check:
        return _Check(health, open_checks)

    if isinstance(place, HealthPort):
        try:
            server = await loop.create_server(check, place.host, place.port)
        except OSError as error:
            raise ConfigError(
                f"the health checks of this worker cannot listen on {place.host}:{place.port}: "
                f"{error.strerror or error}; give another health_port, and one of its own to each "
                "connection of a process",
                code="port_taken",
            ) from error
    else:
        server = await loop.create_server(check, sock=place)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for each in tuple(open_checks):
            each.end()


class _Check(asyncio.Protocol):
    """One connection.

    Args:
        all_open: All of them, the oldest first.
    """

    def __init__(self, health: Callable[[], Health], all_open: dict[_Check, None]) -> None:
        self._health = health
        self._all_open = all_open
        self._head = b""
        self._answered = False
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._deadline = asyncio.get_running_loop().call_later(DEADLINE_S, self.end)
        self._all_open[self] = None
        if len(self._all_open) > CONNECTIONS_MAX:
            next(iter(self._all_open)).end()

    def connection_lost(self, _error: Exception | None) -> None:
        self._all_open.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return  # a body, or another request: neither is wanted
        self._head += data
        if b"\r\n\r\n" in self._head or b"\n\n" in self._head:
            self._answer(*_respond(self._head, self._health))
        elif len(self._head) > HEAD_BYTES_MAX:
            self._answer(bad_request("the head of the request is too long"), with_body=True)

    def end(self) -> None:
        """Now, whatever the other side does."""
        self._all_open.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, answer: HealthAnswer, with_body: bool) -> None:
        self._answered = True
        self._head = b""
        transport = self._transport
        assert transport is not None, "data comes on a connection"
        headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        head = f"HTTP/1.1 {answer.status} {answer.phrase}\r\n{headers}Connection: close\r\n\r\n"
        transport.write(head.encode("latin-1") + (answer.body if with_body else b""))
        transport.close()


def _respond(head: bytes, health: Callable[[], Health]) -> tuple[HealthAnswer, bool]:
    """The answer to a request, and whether its body is sent."""
    line = head.split(b"\n", 1)[0].decode("latin-1").rstrip("\r")
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        return bad_request("this is no HTTP/1 request"), True
    path = words[1].split("?", 1)[0]
    return answer_health(health, method=words[0], path=path), words[0] != "HEAD"
