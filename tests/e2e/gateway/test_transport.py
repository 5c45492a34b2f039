"""The WebSocket itself: HTTP, sizes, fragments, broken frames, workers that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest
import websockets
from websockets.frames import Frame, Opcode

from stepwell.server.gateway import socket as gateway_socket
from stepwell.server.gateway.request import HEAD_BYTES_MAX
from stepwell.wire.connect import Kind
from tests.e2e.gateway.raw_worker import open_bench, until
from tests.unit.server.gateway.messages import HEARTBEAT, PAUSE, ack, app, made, reply
from tests.unit.server.loop import on_loop
from tests.unit.server.manual_clock import ManualClock

if TYPE_CHECKING:
    from tests.e2e.gateway.raw_worker import Bench, RawWorker

MESSAGE_BYTES_MAX = 8 * 2**20
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"


def send_frame(worker: RawWorker, opcode: Opcode, data: bytes, **flags: bool) -> None:
    """One frame as it is, right or wrong."""
    frame = Frame(opcode, data, **flags)
    worker.socket.transport.write(frame.serialize(mask=True))


async def alive(worker: RawWorker) -> None:
    await worker.send(HEARTBEAT)
    await worker.receive_kind(Kind.GATEWAY_HEARTBEAT)


# --- HTTP ---


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "body"),
    [
        (b"GET /v0/ HTTP/1.1", b"", 200, b"."),
        (b"GET /ready HTTP/1.1", b"", 200, b"ready"),
        (b"GET / HTTP/1.1", b"", 404, b"workers connect at /v0/connect"),
        (b"GET /v0/connect HTTP/1.1", b"", 426, b"WebSocket"),
        (
            b"GET /v0/connect HTTP/1.1",
            b"Upgrade: websocket\r\nConnection: upgrade\r\nOrigin: http://evil.example\r\n" + KEY,
            403,
            b"Origin",
        ),
        (
            b"GET /v0/connect HTTP/1.1",
            b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n",
            400,
            b"key",
        ),
        (b"POST /v0/connect HTTP/1.1", b"", 400, b"method"),
        (b"GET /v0/ HTTP/1.0", b"", 400, b"version"),
        (b"nonsense", b"", 400, b""),
        (b"GET /ready HTTP/1.1", b"no colon\r\n", 400, b""),
    ],
)
def test_http_is_answered_in_words(
    request_line: bytes, headers: bytes, status: int, body: bytes
) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench:
            answer = await bench.http(request_line + b"\r\nHost: a\r\n" + headers + b"\r\n")
            head, _, text = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert body in text
            assert b"Traceback" not in text

    check()


@on_loop
async def test_an_upgrade_that_fails_leaves_no_connection() -> None:
    async with open_bench() as bench:
        request = b"GET /v0/connect HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        assert b" 400 " in await bench.http(request)
        assert bench.gateway.connection_count == 0


@on_loop
async def test_a_connection_header_with_several_words_is_understood() -> None:
    async with open_bench() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(
            b"GET /v0/connect HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n"
            b"Connection: keep-alive, Upgrade\r\n" + KEY + b"\r\n"
        )
        assert b" 101 " in await reader.readline()
        writer.close()


@on_loop
async def test_a_request_may_come_in_any_pieces() -> None:
    request = b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n"
    async with open_bench() as bench:
        for step in (1, 2, 3, 20):
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            writer.transport.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )
            for at in range(0, len(request), step):
                writer.write(request[at : at + step])
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                assert (await reader.read()).endswith(b"\r\n\r\nready")
            writer.close()


@pytest.mark.parametrize(
    ("size", "status"), [(HEAD_BYTES_MAX - 100, 200), (HEAD_BYTES_MAX + 100, 431), (300_000, 431)]
)
def test_a_head_has_a_largest_size(size: int, status: int) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench:
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            writer.write(b"GET /ready HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * size)
            if status == 200:
                writer.write(b"\r\n\r\n")
            async with asyncio.timeout(5):
                assert b" %d " % status in await reader.readline()
            writer.close()

    check()


@on_loop
async def test_who_has_not_asked_yet_is_cut_off_when_the_gateway_ends() -> None:
    async with open_bench() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        await until(lambda: len(bench.gateway._doors) == 1)
    async with asyncio.timeout(1):  # sooner than a request has to come
        assert await reader.read() == b""
    writer.close()


# --- messages ---


@on_loop
async def test_a_message_of_the_largest_size_is_taken() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(
            reply("big", status=1, body=b'"' + b"x" * (MESSAGE_BYTES_MAX - 100) + b'"')
        )
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)


@pytest.mark.parametrize("size", [MESSAGE_BYTES_MAX + 1, 3 * MESSAGE_BYTES_MAX])
def test_a_larger_message_ends_the_connection(size: int) -> None:  # 38
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.worker() as worker:
            with contextlib.suppress(websockets.ConnectionClosed):
                await worker.send(b"x" * size)
            assert await worker.closed() == (1009, "read limited at 8388609 bytes")
            await until(lambda: bench.book.live_count == 0)
            assert bench.book.list()[0].disconnect_reason == "MESSAGE_TOO_LARGE"
            assert bench.runtime.named("gone") == [worker.connection_id]

    check()


@on_loop
async def test_fragments_count_together() -> None:  # 38
    async with open_bench() as bench, bench.worker() as worker:
        with contextlib.suppress(websockets.ConnectionClosed):
            await worker.socket.send([b"x" * 2**20] * 9)
        assert await worker.closed() == (1009, "read limited at 8388609 bytes")
        await until(lambda: bench.book.live_count == 0)
        assert bench.book.list()[0].disconnect_reason == "MESSAGE_TOO_LARGE"


@on_loop
async def test_a_message_in_fragments_is_joined_and_pings_may_come_between() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        whole = reply("in parts", status=1, body=b"1")
        send_frame(worker, Opcode.BINARY, whole[:3], fin=False)
        send_frame(worker, Opcode.CONT, b"", fin=False)
        pong = await worker.socket.ping()
        await pong
        send_frame(worker, Opcode.CONT, whole[3:], fin=True)
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        assert bench.runtime.named("report") == ["in parts"]
        await alive(worker)


@on_loop
async def test_a_large_message_may_follow_the_hello_at_once() -> None:
    large = reply("large", status=1, body=b'"' + b"x" * 5 * 2**20 + b'"')
    async with open_bench() as bench, bench.socket() as worker:
        await worker.receive_kind(Kind.GATEWAY_HELLO)
        worker.socket.transport.write(
            Frame(Opcode.BINARY, worker.hello()).serialize(mask=True)
            + Frame(Opcode.BINARY, large).serialize(mask=True)
        )
        await worker.receive_kind(Kind.GATEWAY_CONNECTION_READY)
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        assert bench.runtime.named("report") == ["large"]


@on_loop
async def test_what_came_in_one_packet_before_a_close_frame_counts_before_it() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        worker.socket.transport.write(
            Frame(Opcode.BINARY, ack("taken")).serialize(mask=True)
            + Frame(Opcode.BINARY, reply("done", status=1, body=b"1")).serialize(mask=True)
            + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
        )
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        assert (await worker.closed())[0] == 1000
        asked = [name for name, _ in bench.runtime.asked]
        assert asked[-4:] == ["acked", "report", "detach", "gone"]


@on_loop
async def test_messages_that_arrive_in_any_pieces_are_read_alike() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        stream = b"".join(
            Frame(Opcode.BINARY, reply(str(n), body=b"x" * n * 50)).serialize(mask=True)
            for n in range(8)
        )
        for cut in range(0, len(stream), 7):
            worker.socket.transport.write(stream[cut : cut + 7])
            await asyncio.sleep(0)
        for _ in range(8):
            await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        assert bench.runtime.named("report") == [str(n) for n in range(8)]


@on_loop
async def test_pings_are_answered_before_and_after_the_handshake() -> None:
    async with open_bench() as bench, bench.socket() as worker:
        for _ in range(2):
            pong = await worker.socket.ping(b"payload")
            await pong
            if bench.book.live_count == 0:
                await worker.handshake()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(0x81, b"{}")], 1007),  # text
        ([(0x81, b"\xff")], 1007),
        ([(0x82, b"\xff\xff")], 1007),  # no envelope
        ([(0x82, b"\x08")], 1007),
        ([(0x80, b"")], 1002),  # a continuation of nothing
        ([(0x02, b"a"), (0x82, b"b")], 1002),  # a message inside another
        ([(0xC2, b"a")], 1002),  # reserved bits
        ([(0x92, b"a")], 1002),
        ([(0x89, b"a" * 126)], 1002),  # a ping that is too long
        ([(0x09, b"a")], 1002),  # and one in fragments
        ([(0x83, b"")], 1002),  # an unknown opcode
        ([(0x88, b"\x03")], 1002),  # a close with half a code
        ([(0x88, b"\x03\xed")], 1002),  # and one with a code that nobody may send
        ([(0x88, b"\x03\xe8\xff")], 1007),  # and one whose reason is no text
    ],
)
def test_what_breaks_the_rules_ends_the_connection(
    frames: list[tuple[int, bytes]], code: int
) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.worker() as worker:
            for first_byte, data in frames:
                worker.socket.transport.write(raw_frame(first_byte, data))
            closed, reason = await worker.closed()
            assert closed == code
            assert reason
            await until(lambda: bench.book.live_count == 0)
            assert bench.runtime.named("gone") == [worker.connection_id]

    check()


def raw_frame(first_byte: int, data: bytes) -> bytes:
    """A frame that a library would refuse to send."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([first_byte]) + size + bytes(4) + data


@pytest.mark.parametrize("raw", [b"\x82\x05hello", b"\x83\x80\0\0\0\0", b"\x82\xff" + b"\xff" * 12])
def test_frames_that_no_library_sends_end_the_connection(raw: bytes) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.worker() as worker:
            worker.socket.transport.write(raw)
            code, _reason = await worker.closed()
            assert code in (1002, 1009)
            await until(lambda: bench.gateway.connection_count == 0)

    check()


@pytest.mark.parametrize("raw", [b"\x82\x05hello", b"\x81\x80\0\0\0\0", b"\x82\xff" + b"\x0f" * 12])
def test_a_peer_that_was_refused_is_left_without_waiting_for_it(raw: bytes) -> None:
    @on_loop
    async def check() -> None:
        clock = ManualClock()  # stands still
        async with open_bench(clock=clock) as bench, bench.worker() as worker:
            worker.socket.transport.write(raw)
            code, _reason = await worker.closed()
            assert code in (1002, 1007, 1009)
            await until(lambda: bench.gateway.connection_count == 0)

    check()


@on_loop
async def test_what_follows_something_that_was_refused_is_not_read_for_ever() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(
            b"GET /v0/connect HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            + KEY
            + b"\r\n"
        )
        writer.write(b"\x82\x05hello")
        await until(lambda: bench.gateway.connection_count == 1)
        (open_socket,) = bench.gateway._sockets
        for _ in range(2 * gateway_socket.DROPPED_BYTES_MAX // 2**20):
            writer.write(bytes(2**20))
            await asyncio.sleep(0)
        await until(lambda: not open_socket._is_reading)
        assert open_socket._reader.held_bytes == 0
        async with asyncio.timeout(5):
            assert b"no mask" in await reader.read()
        clock.advance(2_000)
        await until(lambda: bench.gateway.connection_count == 0)
        writer.transport.abort()


@on_loop
async def test_random_bytes_never_hurt_another_worker() -> None:
    async with open_bench() as bench, bench.worker() as good:
        for seed in range(40):
            async with bench.socket() as bad:
                await bad.receive_kind(Kind.GATEWAY_HELLO)
                noise = seed.to_bytes(2, "big") + os.urandom(200)
                await bad.send(noise if seed % 2 else bad.hello(app(functions=None)) + noise)
                assert (await bad.closed())[0] in (1007, 1008)
        await alive(good)


# --- cut sockets ---


@pytest.mark.parametrize("cut", [1, 2, 5, 20, 60])
def test_a_socket_cut_in_the_middle_of_a_frame_is_gone(cut: int) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.worker() as worker:
            frame = Frame(Opcode.BINARY, reply("never", body=b"x" * 100)).serialize(mask=True)
            worker.socket.transport.write(frame[:cut])
            await asyncio.sleep(0)
            worker.socket.transport.close()
            await until(lambda: bench.gateway.connection_count == 0)
            assert bench.runtime.named("gone") == [worker.connection_id]
            assert bench.runtime.named("report") == []

    check()


@on_loop
async def test_a_socket_cut_in_the_middle_of_the_upgrade_leaves_nothing() -> None:
    async with open_bench() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(b"GET /v0/connect HTTP/1.1\r\nUpg")
        await writer.drain()
        writer.transport.abort()
        del reader
        await bench.http(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
        assert bench.gateway.connection_count == 0


@on_loop
async def test_a_socket_that_ends_while_its_apps_are_registered_is_not_made_ready() -> None:
    async with open_bench() as bench:
        async with bench.socket() as worker:
            await worker.receive_kind(Kind.GATEWAY_HELLO)
            worker.socket.transport.write(
                Frame(Opcode.BINARY, worker.hello()).serialize(mask=True)
                + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
            )
            await worker.closed()
        await until(lambda: bench.gateway.connection_count == 0)
        assert bench.runtime.named("attach") == []
        assert bench.runtime.named("gone") == [worker.connection_id]


# --- workers that do not read ---


async def stuff(bench: Bench, worker: RawWorker, calls: int) -> None:
    """Give calls of 1 MiB to a worker that reads nothing, until its buffers are full."""
    worker.socket.transport.pause_reading()
    port = bench.runtime.attached[worker.connection_id].port
    for number in range(calls):
        port.send_call(made(str(number), b"x" * 2**20))
    port.flush()
    (open_socket,) = bench.gateway._sockets
    await until(lambda: open_socket.unsent_bytes > gateway_socket.UNSENT_HIGH_BYTES)


@on_loop
async def test_any_number_of_large_calls_reaches_a_worker_that_reads() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        port = bench.runtime.attached[worker.connection_id].port
        for number in range(150):
            port.send_call(made(str(number), number.to_bytes(1, "big") * 2**20))
        port.flush()
        (open_socket,) = bench.gateway._sockets
        assert open_socket.unsent_bytes < 2 * gateway_socket.UNSENT_HIGH_BYTES
        for number in range(150):
            payload = await worker.receive_kind(Kind.GATEWAY_EXECUTOR_REQUEST)
            assert (payload[0], len(payload)) == (number, 2**20)


@on_loop
async def test_acknowledgements_pass_calls_that_wait() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        await stuff(bench, worker, calls=40)
        await worker.send(reply("r", status=1, body=b"1"))
        await until(lambda: bool(bench.runtime.outcomes))
        worker.socket.transport.resume_reading()
        kinds = [(await worker.receive())[0] for _ in range(41)]
        assert Kind.WORKER_REPLY_ACK in kinds[:-10]


@on_loop
async def test_calls_that_wait_go_elsewhere_when_the_worker_pauses() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        await stuff(bench, worker, calls=40)
        await worker.send(PAUSE, HEARTBEAT)
        await until(lambda: bool(bench.runtime.named("detach")))
        worker.socket.transport.resume_reading()
        calls = 0
        while (await worker.receive())[0] is Kind.GATEWAY_EXECUTOR_REQUEST:
            calls += 1
        assert calls < 40


@on_loop
async def test_a_worker_that_does_not_read_is_failed_and_its_calls_go_elsewhere() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.worker() as worker:
        await stuff(bench, worker, calls=40)
        clock.advance(gateway_socket.WRITE_WAIT_MS)
        await until(lambda: bench.runtime.named("gone") == [worker.connection_id])
        clock.advance(4_000)  # the close frame cannot get through either: TCP is cut
        await until(lambda: bench.gateway.connection_count == 0)
        worker.socket.transport.abort()


@on_loop
async def test_a_worker_that_lets_too_much_gather_is_failed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_socket, "UNSENT_BYTES_MAX", gateway_socket.UNSENT_HIGH_BYTES)
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.worker() as worker:
        await stuff(bench, worker, calls=40)
        await until(lambda: bench.runtime.named("gone") == [worker.connection_id])
        clock.advance(2_000)
        clock.advance(2_000)
        await until(lambda: bench.gateway.connection_count == 0)
        worker.socket.transport.abort()


@on_loop
async def test_a_worker_that_reads_slowly_is_kept() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.worker() as worker:
        await stuff(bench, worker, calls=40)
        for _ in range(4):
            worker.socket.transport.resume_reading()
            for _ in range(8):
                await worker.receive_kind(Kind.GATEWAY_EXECUTOR_REQUEST)
            worker.socket.transport.pause_reading()
            clock.advance(gateway_socket.WRITE_WAIT_MS // 2)
        assert bench.runtime.named("gone") == []
        worker.socket.transport.abort()


@on_loop
async def test_a_flood_of_pings_that_nobody_reads_the_answers_of_is_bounded() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        worker.socket.transport.pause_reading()
        (open_socket,) = bench.gateway._sockets
        ping = Frame(Opcode.PING, b"p" * 125).serialize(mask=True) * 500
        for _ in range(400):  # 25 MB of answers
            worker.socket.transport.write(ping)
            await asyncio.sleep(0)
        await until(lambda: worker.socket.transport.get_write_buffer_size() == 0)
        assert open_socket.unsent_bytes <= gateway_socket.UNSENT_HIGH_BYTES + 200
        worker.socket.transport.resume_reading()
