"""The connections of one profile, on aiohttp: each goes to an address that was checked.

aiohttp resolves a name, hands the addresses to `_Checked`, and connects to what comes back; there
is no second look-up that could give another answer. `_make_socket` checks once more, at the last
moment at which anything can.

Road not taken: one connection for each call, as the reference's server does. It costs a round trip
for each step; the race that it avoids, a peer that closes an idle connection just as a request
leaves, is met by idling shorter than peers do and by trying such a request once again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from stepwell.errors import OutboundError
from stepwell.server.outbound.addresses import refusal
from stepwell.server.outbound.body import read_body
from stepwell.server.outbound.client import OutboundResponse, address_refused

if TYPE_CHECKING:
    from stepwell.server.outbound.addresses import Profile
    from stepwell.server.outbound.redirects import Hop

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[ResolveResult]]]
"""From a host and a port to addresses; raises OSError."""

CONNECT_S = 10.0
IDLE_S = 1.5  # Gunicorn's threads close after 2 s, Node and Uvicorn after 5.
RACE_S = 1.0
"""A kept connection that ends later than this after a request was not closed for being idle."""

CONNECTIONS_MAX = 2_000
DEAD_PEER = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A host that vanished in the middle of a call is noticed after a minute, not after two hours."""


class Pool:
    """A session of aiohttp and its connections."""

    def __init__(self, profile: Profile, resolve: Resolve | None) -> None:
        self._profile = profile
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Checked(profile, resolve),
                limit=CONNECTIONS_MAX,
                keepalive_timeout=IDLE_S,
                socket_factory=self._make_socket,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # a proxy would connect to addresses that nobody checked
            trace_configs=[trace],
        )

    async def close(self) -> None:
        await self._session.close()

    async def fetch(self, hop: Hop, bytes_max: int) -> OutboundResponse:
        """One request and its answer, which may be a redirect.

        Raises:
            OutboundError: As `OutboundClient.request`.
        """
        connection = SimpleNamespace(reused=False)
        begun_s = time.monotonic()
        try:
            return await self._fetch(hop, bytes_max, connection)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            closed = isinstance(error, aiohttp.ClientConnectionError | OSError)
            early = time.monotonic() - begun_s < RACE_S
            if not (closed and connection.reused and early):
                raise _failure(hop.url, error) from error
        try:
            return await self._fetch(hop, bytes_max, connection)
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(hop.url, error) from error

    async def _fetch(
        self, hop: Hop, bytes_max: int, connection: SimpleNamespace
    ) -> OutboundResponse:
        async with self._session.request(
            hop.method,
            hop.url,
            headers=hop.headers,
            # As a file, it is written piece by piece and never blocks the loop.
            data=None if hop.body is None else BytesIO(hop.body),
            allow_redirects=False,
            trace_request_ctx=connection,
        ) as response:
            connection.reused = False  # it has answered
            body = await read_body(
                response.content.iter_any(),
                encoding=response.headers.get("Content-Encoding", ""),
                length=response.content_length,
                bytes_max=bytes_max,
            )
            headers: dict[str, str] = {}
            for name, value in response.headers.items():
                key = name.lower()
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
            return OutboundResponse(status=response.status, headers=headers, body=body, url=hop.url)

    def _make_socket(self, info: Any) -> socket.socket:
        """A socket for an address that the resolver gave, or that the URL itself names."""
        family, kind, proto, _, address = info
        if (reason := refusal(address[0], self._profile)) is not None:
            raise OSError(f"{address[0]} may not be reached: {reason}")
        made = socket.socket(family=family, type=kind, proto=proto)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in DEAD_PEER.items():
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return made


class _Checked(AbstractResolver):
    """Looks names up, and leaves out addresses that may not be reached."""

    def __init__(self, profile: Profile, resolve: Resolve | None) -> None:
        self._profile = profile
        self._resolve = resolve
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self._resolve is not None:
            found = await self._resolve(host, port)
        else:
            found = await self._system.resolve(host, port, family)
        refused: _Refused | None = None
        allowed = []
        for each in found:
            reason = refusal(each["host"], self._profile)
            if reason is None:
                allowed.append(each)
            else:
                refused = refused or _Refused(each["host"], reason)
        if refused is not None and not allowed:
            raise refused
        return allowed

    async def close(self) -> None:
        await self._system.close()


class _Refused(OSError):
    """None of a name's addresses may be reached; the first of them, and why."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(reason)
        self.address = address
        self.reason = reason


async def _note_reuse(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    context.trace_request_ctx.reused = True


def _failure(url: str, error: Exception) -> OutboundError:
    """What to say of an exception of aiohttp's, or of the system's."""
    cause = error.__cause__
    if isinstance(cause, _Refused):
        return address_refused(url, cause.address, cause.reason)
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return OutboundError(
                f"{url[:200]!r} cannot be requested: it is not a URL", code="outbound_url_invalid"
            )
        case aiohttp.ClientPayloadError():
            return OutboundError(
                f"{url} broke off in the middle of its answer", code="outbound_answer_invalid"
            )
        case aiohttp.ClientResponseError():
            return OutboundError(
                f"{url} did not answer in HTTP: {error.message.strip().splitlines()[0][:200]}",
                code="outbound_answer_invalid",
            )
        case _:
            return OutboundError(
                f"{url} cannot be reached: {_reason(error)}", code="outbound_unreachable"
            )


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is refused: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} has no address"
        case aiohttp.ClientConnectorError():
            return _system_reason(error.os_error)
        case aiohttp.ServerTimeoutError() | asyncio.TimeoutError():
            return f"no connection within {CONNECT_S:g} s"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection without an answer"
        case OSError():
            return _system_reason(error)
        case _:
            return str(error) or type(error).__name__


def _system_reason(error: OSError) -> str:
    """The system's own words for its error, whatever the libraries in between made of them."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
