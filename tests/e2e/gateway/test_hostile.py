"""Peers that mean harm, or are as slow as if they did: what they may cost, and who feels it."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest
from websockets.frames import Frame, Opcode

from stepwell.server.gateway import gateway as gateway_module
from stepwell.server.gateway import socket as gateway_socket
from stepwell.wire.connect import Kind
from tests.e2e.gateway.raw_worker import open_bench, until
from tests.e2e.gateway.test_transport import KEY, MESSAGE_BYTES_MAX, alive, send_frame
from tests.unit.server.gateway.messages import (
    HEARTBEAT,
    PAUSE,
    READY,
    ack,
    envelope,
    extend,
    made,
    reply,
)
from tests.unit.server.loop import on_loop
from tests.unit.server.manual_clock import ManualClock

if TYPE_CHECKING:
    from tests.e2e.gateway.raw_worker import Bench, RawWorker

# --- slow ---


def trickle(worker: RawWorker, count: int) -> None:
    """Read so many bytes of what the gateway sent, one at a time, past the library."""
    number = worker.socket.transport.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(number)) as own:
        own.setblocking(False)
        for _ in range(count):
            own.recv(1)


async def stuffed(bench: Bench, worker: RawWorker) -> None:
    """Give it calls of 1 MiB until its buffers are full."""
    worker.socket.transport.pause_reading()
    port = bench.runtime.attached[worker.connection_id].port
    for number in range(40):
        port.send_call(made(str(number), b"x" * 2**20))
    port.flush()
    (open_socket,) = bench.gateway._sockets
    await until(lambda: open_socket.unsent_bytes > gateway_socket.UNSENT_HIGH_BYTES)


@on_loop
async def test_a_byte_a_second_is_not_reading() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.worker() as worker:
        await stuffed(bench, worker)
        (open_socket,) = bench.gateway._sockets
        unsent_bytes = open_socket.unsent_bytes
        for _ in range(gateway_socket.WRITE_WAIT_MS // 1_000):
            trickle(worker, 1)
            clock.advance(1_000)
            assert open_socket.unsent_bytes <= unsent_bytes + 1_000, "it holds no more for it"
        await until(lambda: bench.runtime.named("gone") == [worker.connection_id])
        clock.advance(4_000)  # the close frame does not get through: TCP is cut
        await until(lambda: bench.gateway.connection_count == 0)
        worker.socket.transport.abort()


@on_loop
async def test_what_a_slow_worker_has_not_sent_whole_holds_up_nobody() -> None:
    async with open_bench() as bench, bench.worker() as slow, bench.worker() as other:
        body = b'"' + b"x" * (MESSAGE_BYTES_MAX - 100) + b'"'
        frame = Frame(Opcode.BINARY, reply("big", status=1, body=body)).serialize(mask=True)
        half = len(frame) // 2
        slow.socket.transport.write(frame[:half])
        for _ in range(3):
            await alive(other)
        slow.socket.transport.write(frame[half:-1])
        await until(lambda: slow.socket.transport.get_write_buffer_size() == 0)
        await alive(other)
        assert bench.runtime.named("report") == []
        slow.socket.transport.write(frame[-1:])
        await slow.receive_kind(Kind.WORKER_REPLY_ACK)
        assert bench.runtime.named("report") == ["big"]


@on_loop
async def test_large_replies_of_many_do_not_hold_up_a_heartbeat() -> None:
    replies, workers = 3, 3
    async with open_bench() as bench, bench.worker() as other:
        body = b'"' + b"x" * (MESSAGE_BYTES_MAX - 100) + b'"'

        async def send_large(number: int) -> None:
            async with bench.worker() as worker:
                for each in range(replies):
                    await worker.send(reply(f"{number}-{each}", status=1, body=body))
                for _ in range(replies):
                    await worker.receive_kind(Kind.WORKER_REPLY_ACK)

        sending = [asyncio.create_task(send_large(number)) for number in range(workers)]
        beats = 0
        while not all(task.done() for task in sending):
            await alive(other)
            beats += 1
        await asyncio.gather(*sending)
        assert len(bench.runtime.named("report")) == replies * workers
        assert beats > workers, "they were answered between the replies, not after them"


# --- half open ---


@pytest.mark.parametrize("begun", [b"", b"GET /v0/connect HTTP/1.1\r\nHost: a\r\n"])
def test_a_socket_that_never_asks_for_anything_is_closed(
    monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(gateway_module, "UPGRADE_WAIT_S", 0.05)

    @on_loop
    async def check() -> None:
        async with open_bench() as bench:
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            writer.write(begun)
            async with asyncio.timeout(5):
                await reader.read()  # whatever it says, it ends
            writer.close()
            assert bench.gateway.connection_count == 0

    check()


@on_loop
async def test_a_peer_that_closes_only_its_half_is_gone() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(reply("before", status=1, body=b"1"))
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        worker.socket.transport.write_eof()
        await until(lambda: bench.gateway.connection_count == 0)
        assert bench.runtime.named("gone") == [worker.connection_id]


@on_loop
async def test_an_upgrade_with_a_frame_behind_it_in_one_packet_gets_no_further() -> None:
    async with open_bench() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        upgrade = (
            b"GET /v0/connect HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        )
        writer.write(upgrade + KEY + b"\r\n" + Frame(Opcode.TEXT, b"{}").serialize(mask=True))
        async with asyncio.timeout(5):
            assert b" 101 " in await reader.readline()
            await reader.readuntil((1007).to_bytes(2, "big"))
        writer.close()
        await until(lambda: bench.gateway.connection_count == 0)


# --- floods ---


@on_loop
async def test_a_flood_of_empty_messages_is_read_and_means_nothing() -> None:
    async with open_bench() as bench, bench.worker() as bad, bench.worker() as good:
        flood = Frame(Opcode.BINARY, b"").serialize(mask=True) * 2_000
        for _ in range(10):
            bad.socket.transport.write(flood)
            await alive(good)
        await alive(bad)
        assert [name for name, _ in bench.runtime.asked].count("report") == 0


@on_loop
async def test_a_flood_of_empty_control_frames_is_read_and_means_nothing() -> None:
    async with open_bench() as bench, bench.worker() as bad, bench.worker() as good:
        flood = Frame(Opcode.PONG, b"").serialize(mask=True) * 2_000
        for _ in range(10):
            bad.socket.transport.write(flood)
            await alive(good)
        await alive(bad)
        assert bench.gateway.connection_count == 2


@pytest.mark.parametrize(
    "header",
    [
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff",  # as long as can be said
        b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00",  # longer: the first bit must not be set
        b"\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00",
        b"\x89\xff\x00\x00\x00\x00\x00\x01\x00\x00",  # a ping of 64 KiB
        b"\x88\xfe\x40\x00",  # a close of 16 KiB
    ],
)
def test_a_huge_length_ends_the_connection_before_its_bytes_come(header: bytes) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.worker() as worker, bench.worker() as good:
            worker.socket.transport.write(header + bytes(4))
            code, _reason = await worker.closed()
            assert code in (1002, 1009)
            await until(lambda: bench.gateway.connection_count == 1)
            await alive(good)

    check()


# --- what means nothing where it comes ---


@pytest.mark.parametrize("kind", [15, 16, 99, 100, 101, 102, 2**31 - 1])
@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff", HEARTBEAT])
def test_a_kind_that_was_not_agreed_on_is_ignored(kind: int, payload: bytes) -> None:  # 39
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.worker() as worker:
            asked = len(bench.runtime.asked)
            worker.socket.transport.write(
                Frame(Opcode.BINARY, enveloped(kind, payload)).serialize(mask=True)
            )
            await alive(worker)
            assert len(bench.runtime.asked) == asked

    check()


def enveloped(kind: int, payload: bytes) -> bytes:
    """An envelope with a kind of which no library knows a name."""
    number = bytearray()
    while kind > 0x7F:
        number.append(kind & 0x7F | 0x80)
        kind >>= 7
    number.append(kind)
    return b"\x08" + bytes(number) + b"\x12" + bytes([len(payload)]) + payload


@on_loop
async def test_messages_in_a_wrong_order_are_taken_for_what_they_say() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(
            reply("r", status=1, body=b"1"),  # before any call
            ack("r"),  # after its reply
            READY,  # long since
            envelope(Kind.GATEWAY_HELLO),  # what only a gateway says
            envelope(Kind.WORKER_REPLY_ACK),
            ack("nobody's"),
        )
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        await worker.send(PAUSE, PAUSE, READY, reply("r", status=1, body=b"2"))
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        await alive(worker)
        assert bench.runtime.named("report") == ["r", "r"]
        assert bench.runtime.named("detach") == [worker.connection_id]


@on_loop
async def test_an_extension_after_the_reply_is_answered_and_moves_nothing() -> None:  # 29
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(reply("r", status=1, body=b"1"))
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        await worker.send(extend("01K7T09A4B0000000000000000", "r"))
        await worker.receive_kind(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
        await alive(worker)


# --- tokens ---


@on_loop
async def test_a_connection_outlives_its_token() -> None:  # 9
    async with open_bench() as bench, bench.worker() as worker:
        bench.runtime.clock_ms = bench.runtime.now_ms() + 3_600_000
        await alive(worker)
        await worker.send(reply("late", status=1, body=b"1"))
        await worker.receive_kind(Kind.WORKER_REPLY_ACK)
        send_frame(worker, Opcode.PING, b"still here")
        await alive(worker)
