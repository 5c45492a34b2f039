"""Life, silence, leaving, and a gateway that drains. Numbers: the reference's behaviours."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from stepwell.server.gateway.socket import LATE_WAIT_MS
from stepwell.server.workers import WorkerStatus
from stepwell.wire.connect import Kind
from tests.e2e.gateway.raw_worker import open_bench, until
from tests.unit.server.gateway.messages import HEARTBEAT, PAUSE, READY, ack, made, reply
from tests.unit.server.loop import on_loop
from tests.unit.server.manual_clock import ManualClock

if TYPE_CHECKING:
    from tests.e2e.gateway.raw_worker import Bench

CLOSING = (1001, "connect_gateway_closing")


async def gone(bench: Bench) -> str | None:
    """The reason in the book, once the only worker is gone."""
    await until(lambda: bench.book.live_count == 0)
    (info,) = bench.book.list()
    assert info.status is WorkerStatus.DISCONNECTED
    assert info.disconnected_at_ms is not None
    return info.disconnect_reason


@on_loop
async def test_a_heartbeat_is_answered_and_moves_the_time_in_the_book() -> None:  # 32
    async with open_bench() as bench, bench.worker() as worker:
        bench.runtime.clock_ms = bench.runtime.now_ms() + 60_000
        await worker.send(HEARTBEAT)
        await worker.receive_kind(Kind.GATEWAY_HEARTBEAT)
        (info,) = bench.book.list()
        assert info.last_heartbeat_ms == bench.runtime.clock_ms


@on_loop
async def test_a_silent_worker_is_closed_after_five_intervals_with_a_reason() -> None:  # 33, 52
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.worker() as worker:
        clock.advance(49_999)
        await worker.send(HEARTBEAT)
        await worker.receive_kind(Kind.GATEWAY_HEARTBEAT)
        clock.advance(49_999)
        assert bench.runtime.named("gone") == []
        clock.advance(1)
        assert await worker.closed() == (1011, "connect_internal_error")
        assert await gone(bench) == "CONSECUTIVE_HEARTBEATS_MISSED"
        assert bench.runtime.named("gone") == [worker.connection_id]


@on_loop
async def test_silence_is_borne_for_25_seconds_however_short_the_interval_is() -> None:
    clock = ManualClock()
    short = open_bench(clock=clock, connect_heartbeat_ms=1_000)
    async with short as bench, bench.worker() as worker:
        clock.advance(24_999)
        assert bench.runtime.named("gone") == []
        clock.advance(1)
        assert await worker.closed() == (1011, "connect_internal_error")


@on_loop
async def test_a_worker_that_is_gone_without_a_word_is_cut_off() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.worker() as worker:
        worker.socket.transport.pause_reading()  # it neither reads nor answers any more
        clock.advance(50_000)
        await until(lambda: bool(bench.runtime.named("gone")))
        clock.advance(2_000)  # no close frame came back: end in good order
        clock.advance(2_000)  # nor did that help: cut
        await until(lambda: bench.gateway.connection_count == 0)
        assert await gone(bench) == "CONSECUTIVE_HEARTBEATS_MISSED"
        worker.socket.transport.abort()


@on_loop
async def test_a_paused_worker_is_detached_and_served() -> None:  # 34
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(PAUSE, HEARTBEAT, reply("last"), READY)
        assert {(await worker.receive())[0] for _ in range(2)} == {
            Kind.GATEWAY_HEARTBEAT,
            Kind.WORKER_REPLY_ACK,
        }
        assert bench.runtime.named("detach") == [worker.connection_id]
        assert bench.runtime.named("attach") == [worker.connection_id]
        assert bench.book.list()[0].status is WorkerStatus.DRAINING


@pytest.mark.parametrize(
    ("code", "reason", "stored"),
    [(1000, "WORKER_SHUTDOWN", "WORKER_SHUTDOWN"), (1000, "", "UNEXPECTED")],
)
def test_the_reason_of_a_close_is_kept(code: int, reason: str, stored: str) -> None:  # 35
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.worker() as worker:
            await worker.socket.close(code, reason)
            assert worker.socket.close_code == code
            assert await gone(bench) == stored
            assert bench.runtime.named("gone") == [worker.connection_id]

    check()


@on_loop
async def test_paused_idle_and_closed_is_a_shutdown() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(PAUSE)
        await worker.socket.close(1000, "")
        assert await gone(bench) == "WORKER_SHUTDOWN"


@on_loop
async def test_tcp_that_ends_without_a_close_frame_is_unexpected() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(ack())
        await until(lambda: bool(bench.runtime.named("acked")))
        worker.socket.transport.abort()
        assert await gone(bench) == "UNEXPECTED"
        assert bench.runtime.named("gone") == [worker.connection_id]


@on_loop
async def test_a_drain_asks_workers_to_move_and_ends_those_that_stay() -> None:  # 36, 37
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.worker() as stays, bench.worker() as moves:
        port = bench.runtime.attached[stays.connection_id].port
        port.send_call(made("in flight", b"call"))
        port.flush()
        await stays.receive_kind(Kind.GATEWAY_EXECUTOR_REQUEST)
        await stays.send(ack("in flight"), HEARTBEAT)
        await stays.receive_kind(Kind.GATEWAY_HEARTBEAT)
        bench.gateway.begin_drain()
        bench.gateway.begin_drain()
        for worker in (stays, moves):
            await worker.receive_kind(Kind.GATEWAY_CLOSING)
        assert sorted(bench.runtime.named("detach")) == sorted(
            [stays.connection_id, moves.connection_id]
        )
        assert {info.status for info in bench.book.list()} == {WorkerStatus.DRAINING}
        await moves.send(reply("in flight"), HEARTBEAT)
        assert {(await moves.receive())[0] for _ in range(2)} == {
            Kind.GATEWAY_HEARTBEAT,
            Kind.WORKER_REPLY_ACK,
        }
        await moves.socket.close(1000, "")
        assert b"503" in await bench.http(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
        clock.advance(24_999)
        assert bench.gateway.connection_count == 1
        clock.advance(1)
        assert await stays.closed() == CLOSING
        async with asyncio.timeout(5):
            await bench.gateway.drained()
        assert bench.book.get(stays.connection_id).disconnect_reason == "GATEWAY_DRAINING"  # type: ignore[union-attr]


@on_loop
async def test_a_socket_that_comes_during_a_drain_is_turned_away_when_it_has_waited() -> None:  # 36
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        bench.gateway.begin_drain()
        async with bench.socket() as late:
            await bench.gateway.drained()  # nobody waits for it
            assert bench.gateway.connection_count == 1
            clock.advance(LATE_WAIT_MS - 1)
            assert late.socket.close_code is None
            clock.advance(1)
            assert await late.closed() == CLOSING
        await until(lambda: bench.gateway.connection_count == 0)


@on_loop
async def test_a_late_socket_that_does_not_wait_is_turned_away_at_once() -> None:  # 36
    async with open_bench() as bench:
        bench.gateway.begin_drain()
        async with bench.socket() as late:
            await late.send(late.hello())
            assert await late.closed() == CLOSING
        assert bench.book.list() == []


@on_loop
async def test_a_late_socket_hears_why_when_the_gateway_ends() -> None:  # 36, 52
    async with contextlib.AsyncExitStack() as sockets:
        async with open_bench() as bench:
            bench.gateway.begin_drain()
            late = await sockets.enter_async_context(bench.socket())
        assert await late.closed() == CLOSING


@on_loop
async def test_a_drain_without_workers_is_over_at_once() -> None:
    async with open_bench() as bench:
        bench.gateway.begin_drain()
        await bench.gateway.drained()


@on_loop
async def test_a_handshake_meets_a_drain() -> None:  # 36
    async with open_bench() as bench, bench.socket() as worker:
        await worker.receive_kind(Kind.GATEWAY_HELLO)
        bench.gateway.begin_drain()
        assert await worker.closed() == CLOSING


@on_loop
async def test_a_worker_that_gets_ready_while_the_gateway_drains_is_sent_away() -> None:
    async with open_bench() as bench, bench.worker(worker_manual_readiness_ack=True) as worker:
        bench.gateway.begin_drain()
        await worker.send(READY)
        assert await worker.closed() == CLOSING
        assert bench.runtime.named("attach") == []


@on_loop
async def test_a_gateway_that_ends_closes_every_socket_with_a_reason() -> None:  # 52
    async with contextlib.AsyncExitStack() as sockets:
        async with open_bench() as bench:
            early = await sockets.enter_async_context(bench.socket())
            ready = await sockets.enter_async_context(bench.worker())
            await early.receive_kind(Kind.GATEWAY_HELLO)
        assert await early.closed() == CLOSING
        assert await ready.closed() == CLOSING
        assert bench.runtime.named("gone") == [ready.connection_id]
