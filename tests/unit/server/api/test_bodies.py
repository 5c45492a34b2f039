"""Bodies are bounded in bytes and in time."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.errors import LimitExceeded, WireError
from stepwell.server.api.bodies import ClientGone, read_body
from tests.unit.server.api.bench import open_api
from tests.unit.server.loop import on_loop


class Messages:
    """An ASGI `receive` that gives these messages, then nothing for ever."""

    def __init__(self, *messages: dict[str, object]) -> None:
        self.messages = list(messages)
        self.taken = 0

    async def __call__(self) -> dict[str, object]:
        if not self.messages:
            await asyncio.Event().wait()
        self.taken += 1
        return self.messages.pop(0)


def part(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


@on_loop
async def test_parts_are_joined() -> None:
    receive = Messages(part(b"ab", more=True), part(b"", more=True), part(b"c", more=False))
    assert await read_body(receive, {}, bytes_max=3, timeout_s=1) == b"abc"


@on_loop
async def test_a_body_that_is_announced_too_long_is_not_read() -> None:
    receive = Messages(part(b"abcd", more=False))
    with pytest.raises(LimitExceeded) as caught:
        await read_body(receive, {b"content-length": b"4"}, bytes_max=3, timeout_s=1)
    assert (caught.value.status, receive.taken) == (413, 0)


@pytest.mark.parametrize("length", [b"2", b"nonsense", b"-1"])
def test_a_body_that_turns_out_too_long_is_refused(length: bytes) -> None:
    @on_loop
    async def check() -> None:
        receive = Messages(part(b"ab", more=True), part(b"cd", more=True))
        with pytest.raises(LimitExceeded):
            await read_body(receive, {b"content-length": length}, bytes_max=3, timeout_s=1)

    check()


@on_loop
async def test_a_body_that_never_ends_is_given_up() -> None:
    with pytest.raises(WireError) as caught:
        await read_body(Messages(part(b"ab", more=True)), {}, bytes_max=9, timeout_s=0.01)
    assert (caught.value.status, caught.value.code) == (408, "body_timeout")


@on_loop
async def test_a_client_that_goes_away_is_noticed() -> None:
    receive = Messages(part(b"ab", more=True), {"type": "http.disconnect"})
    with pytest.raises(ClientGone):
        await read_body(receive, {}, bytes_max=9, timeout_s=1)


@pytest.mark.parametrize("path", ["/e/x", "/fn/register", "/v0/connect/start", "/v0/connect/flush"])
def test_a_slow_body_is_a_408_on_every_route(path: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api(body_timeout_s=0.02) as api:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode()
            answer = await api.raw(head + b"Content-Length: 10\r\n\r\nab")
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"the body was not complete after 0.02 s (2 bytes came)" in answer

    check()


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/e/x", 4_096),
        ("/fn/register", 4 * 2**20),
        ("/v0/connect/start", 2**20),
        ("/v0/connect/flush", 8 * 2**20 + 64 * 2**10),
    ],
)
def test_an_oversize_body_is_a_413_on_every_route(path: str, limit: int) -> None:
    @on_loop
    async def check() -> None:
        async with open_api(event_request_bytes_max=4_096) as api:
            answer = await api.post(path, b"x" * (limit + 1))
            assert answer.status == 413
            assert str(limit).encode() in answer.body

    check()


@on_loop
async def test_a_client_that_hangs_up_leaves_the_server_well() -> None:
    async with open_api() as api:
        _reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(b"POST /e/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab")
        await writer.drain()
        writer.transport.abort()
        assert (await api.get("/health")).status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken\r\n\r\n",
        b"POST /e/x HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
        b"POST /e/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_broken_http_is_refused_in_words(raw: bytes) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.raw(raw)
            assert b"Traceback" not in answer
            assert (await api.get("/health")).status == 200

    check()
