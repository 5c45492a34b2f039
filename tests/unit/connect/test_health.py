"""What `/ready` and `/live` say of a worker, and the apps that say it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from stepwell.connect import ConnectionState, Health
from stepwell.connect.calls import Saturation
from stepwell.connect.health import Vitals, answer_health, asgi_health, health_of, wsgi_health
from tests.unit.connect.loop import on_loop

WELL = Vitals(running_count=2, waiting_count=1, waiting_bytes=300, saturation=None, blocked_ms=0)


def health(
    state: ConnectionState = ConnectionState.ACTIVE,
    *,
    blocked_limit_ms: int | None = 600_000,
    **vitals: Any,
) -> Health:
    return health_of(
        state,
        msgspec.structs.replace(WELL, **vitals),
        instance_id="box",
        blocked_limit_ms=blocked_limit_ms,
    )


def test_active_worker_is_ready() -> None:
    assert health() == Health(
        ready=True,
        live=True,
        reason=None,
        detail="",
        state="ACTIVE",
        instance_id="box",
        running=2,
        unacknowledged=1,
        unacknowledged_bytes=300,
        blocked_s=0,
    )


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (ConnectionState.CONNECTING, "connecting"),
        (ConnectionState.RECONNECTING, "reconnecting"),
        (ConnectionState.CLOSING, "closing"),
        (ConnectionState.CLOSED, "closed"),
    ],
)
def test_worker_in_another_state_is_alive_and_not_ready(
    state: ConnectionState, reason: str
) -> None:
    seen = health(state)

    assert (seen.ready, seen.live, seen.reason) == (False, True, reason)
    assert seen.detail


@pytest.mark.parametrize(
    ("saturation", "detail"),
    [
        (Saturation.REPLIES, "1 results with 300 bytes wait"),
        (Saturation.CALLS, "2 calls run"),
    ],
)
def test_saturated_worker_is_not_ready(saturation: Saturation, detail: str) -> None:
    seen = health(saturation=saturation)

    assert (seen.ready, seen.live, seen.reason) == (False, True, "saturated")
    assert detail in seen.detail


@pytest.mark.parametrize(
    ("blocked_ms", "limit_ms", "live"),
    [
        (5_000, 600_000, True),
        (599_999, 600_000, True),
        (600_000, 600_000, False),
        (9_000_000, None, True),
    ],
)
def test_blocked_loop_is_not_ready_and_dead_only_after_its_limit(
    blocked_ms: int, limit_ms: int | None, live: bool
) -> None:
    seen = health(blocked_ms=blocked_ms, blocked_limit_ms=limit_ms)

    assert (seen.ready, seen.reason, seen.live) == (False, "event_loop_blocked", live)
    assert seen.blocked_s == blocked_ms / 1000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ready", 503),
        ("GET", "/live", 200),
        ("HEAD", "/ready", 503),
        ("GET", "/worker/live", 200),
        ("POST", "/ready", 405),
        ("GET", "/", 404),
        ("GET", "/readiness", 404),
    ],
)
def test_answers(method: str, path: str, status: int) -> None:
    answer = answer_health(lambda: health(ConnectionState.RECONNECTING), method=method, path=path)

    assert answer.status == status
    assert isinstance(json.loads(answer.body), dict)
    assert dict(answer.headers).get("Allow") == ("GET, HEAD" if status == 405 else None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_asgi_app(method: str) -> None:
    @on_loop
    async def run() -> None:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            raise AssertionError("nothing is to be read")

        async def send(message: Any) -> None:
            sent.append(message)

        app = asgi_health(lambda: health(saturation=Saturation.REPLIES))
        await app({"type": "http", "method": method, "path": "/ready"}, receive, send)

        start, body = sent
        assert start["status"] == 503
        headers = dict(start["headers"])
        assert headers[b"content-type"] == b"application/json"
        assert int(headers[b"content-length"]) > 2
        if method == "HEAD":
            assert body["body"] == b""
        else:
            assert json.loads(body["body"])["reason"] == "saturated"

    run()


@on_loop
async def test_asgi_app_takes_part_in_the_lifespan() -> None:
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await asgi_health(health)({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_wsgi_app(method: str) -> None:
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_exc: object) -> Any:
        started.append((status, headers))

    environ = {"REQUEST_METHOD": method, "SCRIPT_NAME": "/worker", "PATH_INFO": "/live"}
    body = b"".join(wsgi_health(health)(environ, start_response))

    assert started[0][0] == "200 OK"
    assert body == b"" if method == "HEAD" else json.loads(body)["live"]
