"""Whether a worker takes calls, and whether it should be left alive: what `/ready` and `/live` say.

A worker is ready while it is connected and takes calls. It is alive while the thread answers that
keeps its leases, so code that blocks the program's loop does not get it killed. But a loop that
never comes back strands its calls with leases that are kept for ever; so when it has been blocked
for a time that no honest computation on a loop takes, the worker is not alive any more, and a
restart gives its calls to others.

Source: docs/how-to/run-a-worker.md, "health".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from stepwell.connect.calls import Saturation
from stepwell.connect.state import ConnectionState

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

READY_PATH: Final = "/ready"
LIVE_PATH: Final = "/live"

_Message: TypeAlias = MutableMapping[str, Any]
AsgiHealth: TypeAlias = (
    "Callable[[_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]],"
    " Awaitable[None]]"
)
WsgiHealth: TypeAlias = "Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]"


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """How the worker behind a connection is."""

    running_count: int
    waiting_count: int
    waiting_bytes: int
    saturation: Saturation | None
    blocked_ms: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection is, at one moment.

    Attributes:
        ready: It is connected, and takes calls.
        live: It need not be restarted.
        reason: Why it is not ready, one word: `connecting`, `reconnecting`, `closing`, `closed`,
            `saturated` or `event_loop_blocked`; None if it is.
        detail: The same in a sentence; empty if it is ready.
        state: Of the connection.
        instance_id: The worker's name.
        running: How many calls are in flight.
        unacknowledged: How many results wait for the server to acknowledge them.
        unacknowledged_bytes: Their size.
        blocked_s: For how long the program's event loop has been blocked; 0 if it is not.
    """

    ready: bool
    live: bool
    reason: str | None
    detail: str
    state: str
    instance_id: str
    running: int
    unacknowledged: int
    unacknowledged_bytes: int
    blocked_s: float


def health_of(
    state: ConnectionState, vitals: Vitals, *, instance_id: str, blocked_limit_ms: int | None
) -> Health:
    """Judge a worker.

    Args:
        blocked_limit_ms: When a blocked event loop makes it dead; None for never.
    """
    reason, detail = _trouble(state, vitals)
    return Health(
        ready=reason is None,
        live=blocked_limit_ms is None or vitals.blocked_ms < blocked_limit_ms,
        reason=reason,
        detail=detail,
        state=state.value,
        instance_id=instance_id,
        running=vitals.running_count,
        unacknowledged=vitals.waiting_count,
        unacknowledged_bytes=vitals.waiting_bytes,
        blocked_s=vitals.blocked_ms / 1000,
    )


_AWAY = {
    ConnectionState.CONNECTING: "the first connection to the server is being made",
    ConnectionState.RECONNECTING: "the connection is being replaced",
    ConnectionState.CLOSING: "the worker finishes its calls and takes no new ones",
    ConnectionState.CLOSED: "the worker has ended",
}


def _trouble(state: ConnectionState, vitals: Vitals) -> tuple[str | None, str]:
    """The reason why a worker is not ready, and the sentence that says it."""
    if state is not ConnectionState.ACTIVE:
        return state.value.lower(), _AWAY[state]
    if vitals.saturation is Saturation.REPLIES:
        return "saturated", (
            f"{vitals.waiting_count} results with {vitals.waiting_bytes} bytes wait for the server"
        )
    if vitals.saturation is Saturation.CALLS:
        return "saturated", f"{vitals.running_count} calls run, which is as many as there may be"
    if vitals.blocked_ms:
        return "event_loop_blocked", (
            f"the program's event loop has been blocked for {vitals.blocked_ms / 1000:g} s; see "
            "the worker's log"
        )
    return None, ""


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a health check is answered with; the body is JSON."""

    status: int
    body: bytes

    @property
    def headers(self) -> list[tuple[str, str]]:
        shown = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
        ]
        return [*shown, ("Allow", "GET, HEAD")] if self.status == 405 else shown

    @property
    def phrase(self) -> str:
        return HTTPStatus(self.status).phrase


def answer_health(health: Callable[[], Health], *, method: str, path: str) -> HealthAnswer:
    """Answer a request for `/ready` or `/live`, below whatever path they are mounted."""
    ready = path.endswith(READY_PATH)
    if not ready and not path.endswith(LIVE_PATH):
        return _answer(404, {"error": f"there are {READY_PATH} and {LIVE_PATH}"})
    if method not in ("GET", "HEAD"):
        return _answer(405, {"error": "only GET and HEAD are answered"})
    now = health()
    return _answer(200 if (now.ready if ready else now.live) else 503, now)


def bad_request(text: str) -> HealthAnswer:
    """Answer what is no request."""
    return _answer(400, {"error": text})


def _answer(status: int, body: Health | dict[str, str]) -> HealthAnswer:
    return HealthAnswer(status=status, body=msgspec.json.encode(body) + b"\n")


def asgi_health(health: Callable[[], Health]) -> AsgiHealth:
    """The same as an ASGI app."""

    async def app(
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            while (kind := (await receive())["type"]) != "lifespan.shutdown":
                await send({"type": f"{kind}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        answer = answer_health(health, method=scope["method"], path=scope["path"])
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    return app


def wsgi_health(health: Callable[[], Health]) -> WsgiHealth:
    """The same as a WSGI app."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        answer = answer_health(health, method=method, path=path)
        start_response(f"{answer.status} {answer.phrase}", answer.headers)
        return [] if method == "HEAD" else [answer.body]

    return app
