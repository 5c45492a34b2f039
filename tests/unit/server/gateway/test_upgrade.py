"""What the gateway's port answers to HTTP."""

from __future__ import annotations

import base64
from http import HTTPStatus

import pytest
from multidict import CIMultiDict
from websockets.utils import accept_key

from stepwell.server.gateway.upgrade import (
    Answer,
    Upgrade,
    agree,
    decide,
    peer_address,
    serialise,
)

UPGRADE = {"Host": "127.0.0.1:8289", "Upgrade": "websocket", "Connection": "Upgrade"}


def status(path: str, headers: dict[str, str], *, draining: bool = False) -> int:
    decision = decide(path, CIMultiDict(headers), draining=draining)
    return decision.status if isinstance(decision, Answer) else 101


def test_the_subprotocol_is_selected_when_it_is_offered() -> None:
    offered = {**UPGRADE, "Sec-WebSocket-Protocol": "other, v0.connect.inngest.com"}
    chosen = decide("/v0/connect", CIMultiDict(offered), draining=False)
    assert chosen == Upgrade(subprotocol="v0.connect.inngest.com")


@pytest.mark.parametrize("more", [{}, {"Sec-WebSocket-Protocol": "v1.connect.inngest.com"}])
def test_workers_without_the_subprotocol_get_none(more: dict[str, str]) -> None:
    chosen = decide("/v0/connect", CIMultiDict({**UPGRADE, **more}), draining=False)
    assert chosen == Upgrade(subprotocol=None)


@pytest.mark.parametrize("path", ["/v0/connect", "/v0/connect?a=b"])
def test_workers_are_upgraded_while_draining_too(path: str) -> None:
    # They get a close frame with a reason; a plain refusal would tell them nothing.
    assert status(path, UPGRADE, draining=True) == 101


def test_a_list_of_connection_words_may_hold_the_upgrade() -> None:
    assert status("/v0/connect", {**UPGRADE, "Connection": "keep-alive, Upgrade"}) == 101


@pytest.mark.parametrize(
    "headers", [{}, {"Upgrade": "websocket"}, {"Connection": "upgrade", "Upgrade": "h2c"}]
)
def test_a_request_without_an_upgrade_is_told_so(headers: dict[str, str]) -> None:
    assert status("/v0/connect", headers) == 426


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8289", "HTTPS://127.0.0.1:8289"])
def test_an_origin_of_the_same_host_passes(origin: str) -> None:
    assert status("/v0/connect", {**UPGRADE, "Origin": origin}) == 101


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1", "http://[", "127.0.0.1:8289"],
)
def test_an_origin_of_another_host_is_refused(origin: str) -> None:
    assert status("/v0/connect", {**UPGRADE, "Origin": origin}) == 403


def test_probes() -> None:
    assert decide("/v0/", CIMultiDict(), draining=True) == Answer(status=200, text=".")  # type: ignore[arg-type]
    assert status("/ready", {}) == 200
    assert status("/ready", {}, draining=True) == 503
    assert status("/", {}) == 404
    assert status("/v0/connect/", UPGRADE) == 404


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, "10.0.0.1"),
        ({"X-Forwarded-For": "203.0.113.9, 10.0.0.2"}, "203.0.113.9"),
        ({"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.10"}, "203.0.113.10"),
        ({"X-Real-IP": " "}, "10.0.0.1"),
    ],
)
def test_what_proxies_say_of_the_peer_wins(headers: dict[str, str], address: str) -> None:
    assert peer_address(CIMultiDict(headers), "10.0.0.1") == address


KEY = base64.b64encode(bytes(range(16))).decode()


def agreed(subprotocol: str | None = None, **headers: str) -> bytes | Answer:
    names = {"sec-websocket-key": KEY, "sec-websocket-version": "13"}
    names |= {name.replace("_", "-"): value for name, value in headers.items()}
    return agree(Upgrade(subprotocol=subprotocol), names)


def test_an_upgrade_is_agreed_on() -> None:
    head = agreed("v0.connect.inngest.com")
    assert isinstance(head, bytes)
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert head.endswith(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert f"Sec-WebSocket-Accept: {accept_key(KEY)}" in lines
    assert "Sec-WebSocket-Protocol: v0.connect.inngest.com" in lines


def test_no_subprotocol_is_named_when_there_is_none() -> None:
    head = agreed()
    assert isinstance(head, bytes)
    assert b"Sec-WebSocket-Protocol" not in head


@pytest.mark.parametrize(
    "key",
    [
        "",
        "short",
        base64.b64encode(bytes(15)).decode(),
        base64.b64encode(bytes(17)).decode(),
        "A" * 22,  # without its padding
        "AAAA AAAAAAAAAAAAAAAAA==",
        "caf\xe9" * 6,
    ],
)
def test_a_key_that_is_none_is_refused(key: str) -> None:
    answer = agreed(sec_websocket_key=key)
    assert isinstance(answer, Answer)
    assert answer.status == 400
    assert "key" in answer.text


@pytest.mark.parametrize("version", ["", "8", "013", "13, 8"])
def test_another_version_is_refused_with_the_right_one(version: str) -> None:
    answer = agreed(sec_websocket_version=version)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers) == (400, {"Sec-WebSocket-Version": "13"})


def test_an_answer_is_written_with_its_length_and_ends_the_connection() -> None:
    answer = Answer(status=HTTPStatus.NOT_FOUND, text="n\u00f6", headers={"A": "b"})
    assert serialise(answer) == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 3\r\nConnection: close\r\nA: b\r\n\r\nn\xc3\xb6"
    )
