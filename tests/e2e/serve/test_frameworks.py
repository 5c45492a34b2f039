"""Every framework, over a real socket: calls, syncs, introspection, and what is refused."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.serve.handler import CALL_BYTES_MAX, SYNC_BYTES_MAX
from stepwell.wire.ids import hash_step_id
from stepwell.wire.signing import verify
from tests.e2e.serve.fake_server import FakeServer
from tests.e2e.serve.programs import FRAMEWORKS, Program, program
from tests.unit.serve.served import FALLBACK, KEY, call_body

if TYPE_CHECKING:
    from collections.abc import Iterator

CHARGE = hash_step_id("charge", 0)
DONE = {CHARGE: {"data": "charged"}}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer([KEY]) as running:
        yield running


@pytest.fixture(scope="module", params=list(FRAMEWORKS))
def app(request: pytest.FixtureRequest, server: FakeServer) -> Iterator[Program]:
    with program(request.param, api_url=server.url) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(server: FakeServer) -> None:
    server.keys = [KEY]
    server.answer = (200, b'{"ok":true,"modified":true}')
    server.registrations.clear()
    server.refused = 0


def ids(app: Program, server: FakeServer) -> list[str]:
    """The functions that this program has."""
    app.ask("PUT", b"{}")
    names = [function["id"] for function in server.registrations[-1].body["functions"]]
    return [name.removeprefix("shop-") for name in names]


def test_functions_run(app: Program, server: FakeServer) -> None:
    for fn_id in ids(app, server):
        first = app.call(fn_id, call_body())
        assert first.status == 206, first.body
        assert first.json[0]["data"] == "charged"
        assert first.headers["x-inngest-framework"] == app.framework

        last = app.call(fn_id, call_body(DONE))
        assert (last.status, last.json) == (200, {"got": "charged"})


def test_answers_are_signed(app: Program) -> None:
    import time

    for answer in (app.call("plain", call_body()), app.ask("GET")):
        header = answer.headers["x-inngest-signature"]
        assert verify(answer.body, header, keys=[KEY], now_s=int(time.time())) == KEY


def test_strangers_are_refused(app: Program) -> None:
    for answer in (
        app.call("plain", call_body(), signed=False),
        app.ask("GET", signed=False),
        app.ask("PUT", b"{}", signed=False),
        app.ask("POST", query="probe=trust", signed=False),
    ):
        assert (answer.status, answer.json["code"]) == (401, "signature_missing")
        assert answer.headers["x-inngest-sdk-handled"] == "true"
        assert not {"x-inngest-sdk", "x-inngest-framework", "x-inngest-env"} & set(answer.headers)


def test_a_body_in_chunks_is_taken(app: Program) -> None:
    if not app.takes_chunks:
        pytest.skip("this server does not decode chunks")
    body = call_body()

    assert app.call("plain", [body[:7], body[7:]]).status == 206


def test_a_body_of_too_many_chunks_is_refused(app: Program) -> None:
    if not app.takes_chunks:
        pytest.skip("this server does not decode chunks")
    answer = app.ask("PUT", [b"x" * (SYNC_BYTES_MAX - 1), b"x", b"x"])

    assert (answer.status, answer.json["code"]) == (413, "request_too_large")


def test_a_call_as_large_as_servers_send_is_taken(app: Program) -> None:
    large = {**DONE, "0" * 40: {"data": "x" * (4 * 2**20)}}

    assert app.call("plain", call_body(large)).json == {"got": "charged"}


def test_state_that_is_too_large_is_fetched(app: Program, server: FakeServer) -> None:
    server.steps = DONE
    for fn_id in ids(app, server):
        answer = app.call(fn_id, call_body(use_api=True))

        assert (answer.status, answer.json) == (200, {"got": "charged"})


def test_a_body_over_the_limit_is_refused(app: Program) -> None:
    head = (
        f"POST {app.path}?fnId=shop-plain HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\n"
        f"Content-Length: {CALL_BYTES_MAX + 1}\r\nX-Inngest-Signature: x\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as connection:
        connection.sendall(head.encode())
        if app.reads_first:
            connection.sendall(b"x" * (CALL_BYTES_MAX + 1))
        answer = b""
        while b"\r\n\r\n" not in answer or b"}" not in answer:
            piece = connection.recv(65536)
            assert piece, answer
            answer += piece

    assert answer.split(b" ", 2)[1] == b"413"
    assert b"request_too_large" in answer


@pytest.mark.parametrize("method", ["OPTIONS", "DELETE", "PATCH", "HEAD", "TRACE"])
def test_other_methods_are_not_answered(app: Program, method: str) -> None:
    answer = app.ask(method, headers={"Origin": "https://elsewhere.example.com"})

    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST, PUT"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_sync_registers_the_app(app: Program, server: FakeServer) -> None:
    answer = app.ask("PUT", b"{}", query="deployId=d-1", headers={"X-Inngest-Server-Kind": "cloud"})

    assert (answer.status, answer.json) == (200, {"ok": True, "modified": True})
    assert answer.headers["x-inngest-sync-kind"] == "out_of_band"
    [registration] = server.registrations
    assert registration.path == "/fn/register?deployId=d-1"
    assert registration.headers["X-Inngest-Expected-Server-Kind"] == "cloud"
    assert registration.headers["X-Inngest-Framework"] == app.framework
    assert registration.body["url"] == app.url
    assert registration.body["appName"] == "shop"


def test_the_servers_refusal_is_passed_on(app: Program, server: FakeServer) -> None:
    server.answer = (400, b'{"error":"plain: no","status":400}')
    answer = app.ask("PUT", b"{}")

    assert (answer.status, answer.json["code"]) == (400, "registration_refused")
    assert "plain: no" in answer.json["message"]


def test_a_key_that_the_server_does_not_know(app: Program, server: FakeServer) -> None:
    server.keys = [FALLBACK]
    answer = app.ask("PUT", b"{}")

    assert (answer.status, answer.json["code"]) == (502, "signing_key_refused")


def test_the_configuration_is_told_to_who_may_ask(app: Program) -> None:
    answer = app.ask("PUT", b"{}", headers={"X-Inngest-Sync-Kind": "in_band"})

    assert answer.status == 200
    assert answer.headers["x-inngest-sync-kind"] == "in_band"
    assert answer.json["app_id"] == "shop"
    assert answer.json["url"] == app.url


def test_introspection(app: Program) -> None:
    answer = app.ask("GET")

    assert answer.status == 200
    assert answer.json["framework"] == app.framework
    assert answer.json["mode"] == "cloud"


def test_a_probe(app: Program) -> None:
    assert app.ask("POST", query="probe=trust").status == 200


@pytest.mark.parametrize("name", list(FRAMEWORKS))
def test_in_development_nothing_needs_a_signature(name: str) -> None:
    with (
        FakeServer() as server,
        program(name, api_url=server.url, is_production=False) as app,
    ):
        assert app.call("plain", call_body()).status == 206
        assert app.ask("GET").json["mode"] == "dev"
        assert app.ask("PUT").status == 200
        assert "Authorization" not in server.registrations[0].headers


@pytest.mark.parametrize("name", list(FRAMEWORKS))
def test_the_place_of_the_app_can_be_given(name: str) -> None:
    raw = name in ("asgi", "mounted", "wsgi")
    place: dict[str, Any] = {"serve_path" if raw else "public_path": "/outside"}
    with (
        FakeServer([KEY]) as server,
        program(
            name,
            api_url=server.url,
            serve_origin="https://shop.example.com",
            **place,
        ) as app,
    ):
        assert app.ask("PUT", b"{}", signed=False).status == 200
        assert server.registrations[0].body["url"] == "https://shop.example.com/outside"


def test_a_server_that_is_not_there() -> None:
    with program("flask", api_url="http://127.0.0.1:9") as app:
        answer = app.ask("PUT", b"{}")

    assert (answer.status, answer.json["code"]) == (502, "server_unreachable")
