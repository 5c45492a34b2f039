"""Opening a socket to a gateway, by whichever way there is."""

from __future__ import annotations

import asyncio
import socket as sockets
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.proxy import get_proxy
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from stepwell.config import SDK_NAME
from stepwell.connect.http import ServerUnreachable
from stepwell.connect.link import CLOSE_TIMEOUT_S, MESSAGE_BYTES_MAX, bound_unsent
from stepwell.proxy import is_loopback
from stepwell.wire.connect import SUBPROTOCOL

if TYPE_CHECKING:
    from websockets.frames import Frame
    from websockets.http11 import Response
    from websockets.uri import WebSocketURI

DIAL_TIMEOUT_S = 10.0
READ_BYTES = 64 * 2**10
REDIRECTS = (301, 302, 303, 307, 308)

SUBPROTOCOLS = [Subprotocol(SUBPROTOCOL)]


class PlainSocket(msgspec.Struct, frozen=True):
    """An open WebSocket on plain TCP, not blocking. `early` came together with the handshake."""

    tcp: sockets.socket
    protocol: ClientProtocol
    early: "list[Frame]"


Opened: TypeAlias = PlainSocket | ClientConnection


async def dial(url: str) -> Opened:
    """Open a socket to a gateway.

    Raises:
        ServerUnreachable: No socket, for any reason.
    """
    try:
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            uri = parse_uri(url)
            is_here = is_loopback(urlsplit(url).hostname or "")
            if not uri.secure and (is_here or get_proxy(uri) is None):
                try:
                    return await _dial_plain(uri)
                except InvalidStatus as refused:
                    if refused.response.status_code not in REDIRECTS:  # to TLS, mostly
                        raise
            return await _dial_with_help(url, proxied=not is_here)
    # ValueError: a host or port that cannot be one; the server may have made it up.
    except (OSError, WebSocketException, TimeoutError, ValueError) as error:
        raise ServerUnreachable(
            f"cannot connect to the gateway at {url}: {str(error) or type(error).__name__}"
        ) from error


async def _dial_with_help(url: str, *, proxied: bool) -> ClientConnection:
    connection = await connect(
        url,
        subprotocols=SUBPROTOCOLS,
        compression=None,
        open_timeout=None,
        close_timeout=CLOSE_TIMEOUT_S,
        ping_interval=None,  # the protocol has heartbeats of its own
        max_size=MESSAGE_BYTES_MAX,
        proxy=True if proxied else None,
        user_agent_header=SDK_NAME,
    )
    bound_unsent(connection.transport.get_extra_info("socket"))
    return connection


async def _dial_plain(uri: WebSocketURI) -> PlainSocket:
    tcp = await _connect(uri)
    try:
        tcp.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        bound_unsent(tcp)
        protocol = ClientProtocol(uri, subprotocols=SUBPROTOCOLS, max_size=MESSAGE_BYTES_MAX)
        request = protocol.connect()
        request.headers["User-Agent"] = SDK_NAME
        protocol.send_request(request)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(tcp, b"".join(protocol.data_to_send()))
        events: list[Frame | Response] = []
        while not events:
            data = await loop.sock_recv(tcp, READ_BYTES)
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
            events += protocol.events_received()  # type: ignore[arg-type]  # it is a client
            if protocol.handshake_exc is not None:
                raise protocol.handshake_exc
        return PlainSocket(tcp, protocol, events[1:])  # type: ignore[arg-type]  # after the Response
    except BaseException:
        tcp.close()
        raise


async def _connect(uri: WebSocketURI) -> sockets.socket:
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(uri.host, uri.port, type=sockets.SOCK_STREAM)
    failure = OSError(f"{uri.host} has no address")
    for family, kind, number, _name, address in addresses:
        tcp = sockets.socket(family, kind, number)
        try:
            tcp.setblocking(False)
            await loop.sock_connect(tcp, address)
        except OSError as error:
            failure = error
            tcp.close()
        except BaseException:
            tcp.close()
            raise
        else:
            return tcp
    raise failure
