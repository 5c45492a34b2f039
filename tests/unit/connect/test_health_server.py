"""The port for health checks: what it answers, and what nobody can do to it."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from contextlib import suppress

import pytest

from stepwell.connect import ConnectionState, Health, health_server
from stepwell.connect.health import Vitals, health_of
from stepwell.connect.health_server import CONNECTIONS_MAX, HEAD_BYTES_MAX, HealthPort
from stepwell.errors import ConfigError
from tests.unit.connect.loop import on_loop

WAIT_S = 5.0
ANYWHERE = HealthPort(host="127.0.0.1", port=0)


def well() -> Health:
    vitals = Vitals(
        running_count=0, waiting_count=0, waiting_bytes=0, saturation=None, blocked_ms=0
    )
    return health_of(ConnectionState.ACTIVE, vitals, instance_id="box", blocked_limit_ms=None)


async def asked(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send this and read all that comes back: status, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(WAIT_S):
            answer = await reader.read()
    finally:
        writer.close()
    head, body = answer.split(b"\r\n\r\n", 1)
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split(" ")[1]), headers, body


@on_loop
async def test_check_is_answered_and_the_connection_closed() -> None:
    async with health_server.serving_health(ANYWHERE, well) as port:
        status, headers, body = await asked(port, b"GET /ready?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")

    assert status == 200
    assert headers["Connection"] == "close"
    assert int(headers["Content-Length"]) == len(body)
    assert json.loads(body)["ready"] is True


@on_loop
async def test_head_has_no_body() -> None:
    async with health_server.serving_health(ANYWHERE, well) as port:
        status, headers, body = await asked(port, b"HEAD /live HTTP/1.0\n\n")

    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"POST /ready HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", 405),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"nonsense\r\n\r\n", 400),
        (b"\xff\x00\r\n\r\n", 400),
        (b"GET http://elsewhere/ready HTTP/1.1\r\n\r\n", 400),
        (b"GET /ready HTTP/2.0\r\n\r\n", 400),
        (b"GET /" + b"x" * (HEAD_BYTES_MAX + 1), 400),
    ],
)
def test_what_is_no_check_is_refused(request_text: bytes, status: int) -> None:
    @on_loop
    async def run() -> None:
        async with health_server.serving_health(ANYWHERE, well) as port:
            assert (await asked(port, request_text))[0] == status

    run()


@on_loop
async def test_second_request_on_a_connection_is_not_answered() -> None:
    async with health_server.serving_health(ANYWHERE, well) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /live HTTP/1.1\r\n\r\n" * 5)
        async with asyncio.timeout(WAIT_S):
            answer = await reader.read()
        writer.close()

    assert answer.count(b"HTTP/1.1 200") == 1


@on_loop
async def test_client_that_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_server, "DEADLINE_S", 0.05)
    async with health_server.serving_health(ANYWHERE, well) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ready HT")
        with suppress(ConnectionResetError):
            async with asyncio.timeout(WAIT_S):
                assert await reader.read() == b""
        writer.close()


@on_loop
async def test_connections_that_are_held_open_keep_no_check_out() -> None:
    async with health_server.serving_health(ANYWHERE, well) as port:
        held = [
            await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS_MAX + 5)
        ]

        status, _, _ = await asked(port, b"GET /ready HTTP/1.1\r\n\r\n")

        assert status == 200
        with suppress(ConnectionResetError):
            async with asyncio.timeout(WAIT_S):
                assert await held[0][0].read() == b""  # the oldest went
        for _, writer in held:
            writer.close()


@on_loop
async def test_taken_port_is_told() -> None:
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)) as caught:
            async with health_server.serving_health(HealthPort(host="127.0.0.1", port=port), well):
                raise AssertionError("it cannot listen there")

    assert caught.value.code == "port_taken"


@on_loop
async def test_socket_that_listens_already_is_used_and_closed() -> None:
    given = sockets.create_server(("127.0.0.1", 0))
    own = given.getsockname()[1]
    async with health_server.serving_health(given, well) as port:
        assert port == own
        assert (await asked(port, b"GET /live HTTP/1.1\r\n\r\n"))[0] == 200

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", own)


@on_loop
async def test_nothing_is_left_open_at_the_end() -> None:
    async with health_server.serving_health(ANYWHERE, well) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asked(port, b"GET /live HTTP/1.1\r\n\r\n")  # so the first is accepted
    with suppress(ConnectionResetError):
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""
    writer.close()
