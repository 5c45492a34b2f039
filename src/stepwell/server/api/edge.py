"""The outermost layer of the API: CORS, server kind, authentication, and what errors become.

Plain ASGI, so that the hot route pays for one dictionary and one closure and no more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

from stepwell.errors import StepwellError
from stepwell.server.api.bodies import ClientGone
from stepwell.server.api.refusals import loggable_path
from stepwell.server.api.responses import common_headers, error_response

if TYPE_CHECKING:
    from starlette.routing import Router
    from starlette.types import Message, Receive, Scope, Send

    from stepwell.server.api.auth import Gate
    from stepwell.server.api.context import Context
    from stepwell.server.api.events import EventIntake

_log = logging.getLogger(__name__)

PREFLIGHT_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
ALLOWED_METHODS = frozenset({b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"})


class Edge:
    """The ASGI application: everything that is the same for all routes."""

    def __init__(
        self, *, context: Context, gate: Gate, intake: EventIntake, router: Router
    ) -> None:
        self.intake = intake
        self._context = context
        self._gate = gate
        self._router = router
        self._kind = common_headers(context)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case _:  # there is no WebSocket on this port yet
                await send({"type": "websocket.close", "code": 1008})

    def refusal(self, error: Exception, path: str) -> Response:
        """What a request without an `Origin` is told that failed past this layer."""
        response = _failure(error, path)
        response.raw_headers += self._kind
        return response

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._context.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] == "OPTIONS":
            method = headers.get(b"access-control-request-method")
            if method is not None:
                await _preflight(origin, method, headers)(scope, receive, send)
                return
        added = self._kind
        if origin is not None:
            added = [
                *added,
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", b"Link, Mcp-Session-Id"),
            ]
        started = False

        async def tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            await self._route(scope, headers, receive, tagged)
        except ClientGone:
            _log.debug("client went away", extra={"path": loggable_path(scope["path"])})
        except Exception as error:
            response = _failure(error, scope["path"])
            if started:
                raise
            await response(scope, receive, tagged)

    async def _route(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        path: str = scope["path"]
        if path.startswith("/e/") and len(path) > 3 and "/" not in path[3:]:
            await self.intake(scope, headers, receive, send)
            return
        refusal = self._gate.refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope["app"] = self  # makes the router raise its 405 instead of answering in text
        await self._router(scope, receive, send)


def _preflight(origin: bytes, method: bytes, headers: dict[bytes, bytes]) -> Response:
    """Any origin and any header; the reply repeats what was asked for."""
    reply = Response(status_code=200)
    reply.headers["vary"] = PREFLIGHT_VARY
    if method not in ALLOWED_METHODS:
        return reply  # without the allowing headers the browser refuses by itself
    reply.raw_headers += [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", method),
        (b"access-control-max-age", b"3600"),
    ]
    wanted = headers.get(b"access-control-request-headers")
    if wanted:
        reply.raw_headers.append((b"access-control-allow-headers", wanted))
    return reply


def _failure(error: Exception, path: str) -> Response:
    """What an error becomes for the client. Ours are logged; nothing of them leaves but a code."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "").split(", ")
        return Response(status_code=405, headers={"Allow": ", ".join(sorted(allowed))})
    # A 501 is about the request too: it asks for what this version does not do.
    if isinstance(error, StepwellError) and (error.status < 500 or error.status == 501):
        return error_response(path, error.status, error.code, error.message)
    if isinstance(error, StepwellError) and error.status == 503:
        extra = {"path": loggable_path(path), "code": error.code}
        _log.warning("not stored: %s", error.message, extra=extra)
        retry = {"Retry-After": "1"}
        return error_response(path, 503, error.code, "the server cannot store this now", retry)
    _log.error("unhandled error at %s", loggable_path(path), exc_info=error)
    return error_response(path, 500, "internal_error", "the server failed; its log says why")
