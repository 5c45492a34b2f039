"""Sockets of anybody: what they may send and hold before they authenticate."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import websockets
from websockets.frames import Opcode

from stepwell.server.gateway import strangers
from stepwell.server.gateway.session import CLOSE_WAIT_MS, HELLO_BYTES_MAX, Phase
from stepwell.wire.connect import Kind
from tests.e2e.gateway.raw_worker import open_bench, until
from tests.e2e.gateway.test_transport import alive, send_frame
from tests.unit.server.gateway.messages import app, function, reply
from tests.unit.server.loop import on_loop
from tests.unit.server.manual_clock import ManualClock

if TYPE_CHECKING:
    from tests.e2e.gateway.raw_worker import Bench

TOO_LARGE = (1009, f"read limited at {HELLO_BYTES_MAX + 1} bytes")
COME_AGAIN = (1008, "connect_internal_error")


async def refused(bench: Bench) -> None:
    """Wait until the gateway is closing its only socket."""
    (open_socket,) = bench.gateway._sockets
    await until(lambda: open_socket._session.phase is Phase.DISCONNECTING)


@on_loop
async def test_a_hello_may_have_many_functions() -> None:
    listed = [function(f"shop-{number}", name="n" * 150) for number in range(2_000)]
    async with open_bench() as bench, bench.socket() as worker:
        hello = worker.hello(app(functions=listed))
        assert HELLO_BYTES_MAX / 4 < len(hello) < HELLO_BYTES_MAX
        await worker.receive_kind(Kind.GATEWAY_HELLO)
        await worker.send(hello)
        await worker.receive_kind(Kind.GATEWAY_CONNECTION_READY)


@pytest.mark.parametrize("count", [1, 40])
def test_a_first_message_over_its_limit_is_refused(count: int) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.socket() as worker:
            await worker.receive_kind(Kind.GATEWAY_HELLO)
            with contextlib.suppress(websockets.ConnectionClosed):
                await worker.socket.send([b"x" * (HELLO_BYTES_MAX // count + 1)] * count)
            assert await worker.closed() == TOO_LARGE
            assert bench.book.list() == []

    check()


@on_loop
async def test_what_is_far_over_the_limit_is_not_kept_and_its_sender_sees_the_close() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.socket() as worker:
        await worker.receive_kind(Kind.GATEWAY_HELLO)
        send_frame(worker, Opcode.BINARY, b"x" * 3 * HELLO_BYTES_MAX)
        await refused(bench)
        clock.advance(CLOSE_WAIT_MS)
        assert await worker.closed() == TOO_LARGE
        await until(lambda: bench.gateway.connection_count == 0)


@on_loop
async def test_frames_that_are_no_message_count_too() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.socket() as worker:
        await worker.receive_kind(Kind.GATEWAY_HELLO)
        for _ in range(HELLO_BYTES_MAX // 125):
            send_frame(worker, Opcode.PONG, b"p" * 125)
        await refused(bench)
        clock.advance(CLOSE_WAIT_MS)
        assert await worker.closed() == TOO_LARGE


@on_loop
async def test_empty_fragments_take_no_room() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        whole = reply("in parts", status=1, body=b"1")
        send_frame(worker, Opcode.BINARY, whole[:3], fin=False)
        for _ in range(5_000):
            send_frame(worker, Opcode.CONT, b"", fin=False)
        pong = await worker.socket.ping()
        await pong
        (open_socket,) = bench.gateway._sockets
        assert open_socket._reader.held_bytes == len(whole[:3])
        send_frame(worker, Opcode.CONT, whole[3:], fin=True)
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        await alive(worker)


@on_loop
async def test_a_worker_gets_in_while_others_hold_all_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strangers, "TOGETHER_MAX", 2)
    async with open_bench() as bench:  # noqa: SIM117 - too many for a line
        async with bench.socket() as first, bench.socket() as second, bench.worker() as worker:
            assert await first.closed() == COME_AGAIN
            await alive(worker)
            async with bench.socket():  # the worker takes no place any more
                pong = await second.socket.ping()
                await pong


@on_loop
async def test_a_worker_gets_in_while_others_hold_all_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strangers, "TOGETHER_BYTES_MAX", 100_000)
    async with open_bench() as bench, bench.socket() as large:
        send_frame(large, Opcode.BINARY, b"x" * 99_900, fin=False)
        pong = await large.socket.ping()
        await pong
        (open_socket,) = bench.gateway._sockets
        assert open_socket._reader.held_bytes == 99_900
        async with bench.worker() as worker:
            assert open_socket._reader.held_bytes == 0
            assert await large.closed() == COME_AGAIN
            await worker.send(reply("big", status=1, body=b'"' + b"x" * 200_000 + b'"'))
            await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        await until(lambda: len(bench.gateway._strangers) == 0)


@on_loop
async def test_a_worker_that_is_refused_stays_a_stranger_until_it_is_gone() -> None:
    async with open_bench() as bench:
        async with bench.socket() as worker:
            await worker.receive_kind(Kind.GATEWAY_HELLO)
            assert len(bench.gateway._strangers) == 1
            await worker.send(worker.hello(session_token="forged"))
            assert await worker.closed() == (1008, "connect_authentication_failed")
        await until(lambda: bench.gateway.connection_count == 0)
        assert len(bench.gateway._strangers) == 0
