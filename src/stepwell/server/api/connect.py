"""`POST /v0/connect/start` and `/v0/connect/flush`: the HTTP side of Connect.

Source: docs/reference/wire/connect.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import LimitExceeded, WireError
from stepwell.server.api.bodies import read_body
from stepwell.wire import connect as pb
from stepwell.wire.ids import ulid_text
from stepwell.wire.outcomes import outcome_from_connect

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from starlette.requests import Request

    from stepwell.server.api.context import Context

START_BYTES_MAX = 2**20
FLUSH_BYTES_MAX = 8 * 2**20 + 64 * 2**10  # One reply: 8 MiB of body and its other fields.
GATEWAY_GROUP = "gw-dev"  # The one group that a server of its own has, as SDKs know it.

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")


class ConnectHttp:
    """Where a worker asks for a connection, and where it leaves replies without one."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route("/v0/connect/start", self.start, methods=["POST"]),
            Route("/v0/connect/flush", self.flush, methods=["POST"]),
        ]

    async def start(self, request: Request) -> Response:
        """A connection id, a token bound to it, and the gateway's URL. Answers while draining.

        Raises:
            LimitExceeded: 429, as many workers are connected as the setting allows.
        """
        _parse(pb.StartRequest(), await self._body(request, START_BYTES_MAX))
        live, most = self._context.book.live_count, self._context.settings.connections_max
        if live >= most:
            raise LimitExceeded(
                "all connections for workers are taken",
                code="connections_taken",
                status=429,
                limit=most,
                seen=live + 1,
                hint="raise --connections-max (STEPWELL_CONNECTIONS_MAX)",
            )
        runtime = self._context.runtime
        connection_id = ulid_text(runtime.ids.ulid(runtime.now_ms()))
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        answer = pb.StartResponse(
            connection_id=connection_id,
            gateway_endpoint=self._context.gateway_url(request.headers.get("host", "")),
            gateway_group=GATEWAY_GROUP,
            session_token=self._context.mint_session_token(connection_id),
            sync_token=bearer.strip() if scheme.lower() == "bearer" else "",
        )
        return _protobuf(answer)

    async def flush(self, request: Request) -> Response:
        """Take a reply; it is stored when this answers. A stale or repeated one changes nothing.

        Raises:
            WireError: 400, the body is empty or not an SDKResponse, or names no request.
            StoreError: 503, not stored; the worker sends it again.
        """
        body = await self._body(request, FLUSH_BYTES_MAX)
        if not body:
            raise WireError("missing request body")
        reply = pb.SDKResponse()
        _parse(reply, body)
        if not reply.request_id:
            raise WireError("missing request_id")
        outcome = outcome_from_connect(
            status=reply.status,
            body=reply.body,
            no_retry=reply.no_retry,
            retry_after=reply.retry_after if reply.HasField("retry_after") else None,
            request_version=reply.request_version,
            now_ms=self._context.runtime.now_ms(),
        )
        await self._context.runtime.report(request_id=reply.request_id, outcome=outcome)
        return _protobuf(pb.FlushResponse(request_id=reply.request_id))

    async def _body(self, request: Request, bytes_max: int) -> bytes:
        return await read_body(
            request.receive,
            dict(request.scope["headers"]),
            bytes_max=bytes_max,
            timeout_s=self._context.body_timeout_s,
        )


def endpoint_for(host_header: str, *, gateway_port: int, address: str) -> str:
    """The gateway's URL as the caller can reach it: its own idea of our host, the gateway's port.

    Args:
        host_header: `Host` of the start request; ignored if it is not a host name or address.
        address: What to say then: the address that the server listens on.
    """
    match = _HOST.fullmatch(host_header.strip())
    host = match["host"] if match else address
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    if host in ("0.0.0.0", "[::]"):  # listening everywhere is no place to dial
        host = "127.0.0.1"
    return f"ws://{host}:{gateway_port}/v0/connect"


def _parse(message: Message, body: bytes) -> None:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise WireError("could not unmarshal request", code="protobuf_invalid") from error


def _protobuf(message: Message) -> Response:
    return Response(message.SerializeToString(), media_type="application/octet-stream")
