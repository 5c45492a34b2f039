"""A request's head is bounded in bytes and in time, and so are requests that wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from stepwell.server.api.http_protocol import HEAD_BYTES_MAX, BoundedHttp
from tests.unit.server.api.bench import open_api
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.server.api.bench import Api

LINE = b"GET /health HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "head_wait_s", 0.05)


@on_loop
async def test_a_head_without_end_is_refused() -> None:
    async with open_api() as api:
        header = b"X: " + b"y" * 8_000 + b"\r\n"
        answer = await api.raw(LINE, *[header] * (HEAD_BYTES_MAX // 8_000 + 1))
        assert answer.startswith(b"HTTP/1.1 431 ")


@on_loop
async def test_a_large_head_is_taken() -> None:
    async with open_api() as api:
        header = b"X: " + b"y" * 30_000 + b"\r\n"
        answer = await api.raw(LINE, header, header, b"Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("begin", [b"GET", LINE])
def test_a_head_that_does_not_come_is_given_up(begin: bytes) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            assert (await api.raw(begin)).startswith(b"HTTP/1.1 408 ")

    check()


@pytest.mark.usefixtures("hasty")
@on_loop
async def test_a_connection_on_which_nothing_comes_is_closed_without_an_answer() -> None:
    async with open_api() as api:
        assert await api.raw(b"") == b""


@pytest.mark.usefixtures("hasty")
@on_loop
async def test_a_second_request_may_be_slow_to_begin_but_not_to_go_on() -> None:
    async with open_api() as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        for piece in (LINE, b"\r\n"):
            writer.write(piece)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # twice the time of a head
                await reader.read()
        writer.write(LINE)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


@pytest.mark.usefixtures("hasty")
@on_loop
async def test_a_slow_body_is_not_a_slow_head() -> None:
    async with open_api() as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(b"POST /e/x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read()
        writer.write(b'{"name":"a"}')
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        writer.close()


@on_loop
async def test_requests_in_one_packet_are_answered_in_turn() -> None:
    async with open_api() as api:
        answer = await api.raw((LINE + b"\r\n") * 2 + LINE + b"Connection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 ") == 3


@on_loop
async def test_a_body_is_not_counted_as_the_next_requests_head() -> None:
    async with open_api() as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(event(2 * HEAD_BYTES_MAX) + LINE)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"Connection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


@on_loop
async def test_many_requests_in_one_packet_are_no_large_head() -> None:
    async with open_api() as api:
        count = HEAD_BYTES_MAX // len(LINE) + 10
        answer = await api.raw((LINE + b"\r\n") * count + LINE, b"Connection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 ") == count + 1


class HeldStore:
    """Lets a POST wait for its answer."""

    def __init__(self, api: Api) -> None:
        self.asked = asyncio.Event()
        self.give: Callable[[], None]
        submit = api.runtime.submit_events

        def held(*args: Any) -> None:
            self.asked.set()
            self.give = lambda: submit(*args)

        api.runtime.submit_events = held  # type: ignore[assignment, method-assign]


@on_loop
async def test_no_more_is_read_while_requests_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[int] = []
    receive = BoundedHttp.data_received

    def noted(self: BoundedHttp, data: bytes) -> None:
        waiting.append(len(self.pipeline))
        receive(self, data)

    monkeypatch.setattr(BoundedHttp, "data_received", noted)
    async with open_api() as api:
        request = LINE + b"X: " + b"y" * 8_000 + b"\r\n\r\n"  # one read cannot take all of them
        answer = await api.raw(request * 200, LINE + b"Connection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 ") == 201
        assert len(waiting) > 2
        assert max(waiting) == 0


@pytest.mark.usefixtures("hasty")
@on_loop
async def test_a_slow_answer_is_not_the_next_requests_408() -> None:
    async with open_api() as api:
        store = HeldStore(api)
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(event(10) + LINE)
        await store.asked.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # twice the time of a head
                await reader.read(1)
        store.give()
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")  # its time ran from then on
        writer.close()


def test_a_large_head_is_refused_after_the_answer_that_is_owed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paused = asyncio.Event()
    pause_reading = FlowControl.pause_reading

    def pause(flow: FlowControl) -> None:
        paused.set()
        pause_reading(flow)

    monkeypatch.setattr(FlowControl, "pause_reading", pause)

    @on_loop
    async def check() -> None:
        async with open_api() as api:
            store = HeldStore(api)
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(event(10) + LINE)
            await store.asked.wait()
            assert not paused.is_set()
            writer.write(b"X: " + b"y" * 2 * HEAD_BYTES_MAX)
            await paused.wait()
            store.give()
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 431 ")
            writer.close()

    check()


def event(size: int) -> bytes:
    """A POST of one event with so many bytes of data."""
    body = b'{"name":"a","data":{"x":"' + b"y" * size + b'"}}'
    return b"POST /e/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
