"""Heads of requests, right and wrong."""

from __future__ import annotations

import pytest

from stepwell.server.gateway.request import Request, read_request
from stepwell.server.gateway.upgrade import Answer


def test_a_request_is_read() -> None:
    head = (
        b"GET /v0/connect?a=b HTTP/1.1\r\nHost: 127.0.0.1:8289\r\nUPGRADE:websocket\r\n"
        b"X-Empty:\r\nX-Forwarded-For: \t 203.0.113.9 \t\r\nX-Name: caf\xe9"
    )
    assert read_request(head) == Request(
        "/v0/connect?a=b",
        {
            "host": "127.0.0.1:8289",
            "upgrade": "websocket",
            "x-empty": "",
            "x-forwarded-for": "203.0.113.9",
            "x-name": "caf\xe9",
        },
    )


def test_headers_of_one_name_are_joined() -> None:
    request = read_request(b"GET / HTTP/1.1\r\nConnection: keep-alive\r\nconnection: Upgrade")
    assert isinstance(request, Request)
    assert request.headers == {"connection": "keep-alive, Upgrade"}


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "no HTTP"),
        (b"nonsense", "no HTTP"),
        (b"GET / HTTP/1.1 ", "no HTTP"),
        (b"GET  / HTTP/1.1", "no HTTP"),
        (b" GET / HTTP/1.1", "no HTTP"),
        (b"GET /\x00 HTTP/1.1", "no HTTP"),
        (b"GET / http/1.1", "no HTTP"),
        (b"\x16\x03\x01\x02\x00\x01", "no HTTP"),
        (b"GET / HTTP/1.0", "version"),
        (b"PRI * HTTP/2.0", "version"),
        (b"POST / HTTP/1.1", "method"),
        (b"get / HTTP/1.1", "method"),
        (b"GET / HTTP/1.1\r\nno colon", "header"),
        (b"GET / HTTP/1.1\r\nspace : a", "header"),
        (b"GET / HTTP/1.1\r\n: a", "header"),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded", "header"),
        (b"GET / HTTP/1.1\r\nA: b\nC: d", "header"),
        (b"GET / HTTP/1.1\r\nA: b\rC: d", "header"),
        (b"GET / HTTP/1.1\r\nA: \x00", "header"),
        (b"GET / HTTP/1.1\nA: b", "no HTTP"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", "twice"),
        (b"GET / HTTP/1.1\r\nOrigin: http://a\r\norigin: http://b", "twice"),
        (b"GET / HTTP/1.1\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Key: a", "twice"),
    ],
)
def test_what_is_wrong_is_said(head: bytes, said: str) -> None:
    answer = read_request(head)
    assert isinstance(answer, Answer)
    assert answer.status == 400
    assert said in answer.text


@pytest.mark.parametrize("byte", range(256))
def test_a_request_of_noise_never_fails(byte: int) -> None:
    noise = bytes([byte])
    for head in (noise, b"GET /" + noise, b"GET / HTTP/1.1\r\n" + noise + b": " + noise):
        assert isinstance(read_request(head), Request | Answer)
