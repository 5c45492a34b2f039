"""Sockets that have not authenticated are bounded, and the newest is not the one that pays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from stepwell.server.gateway.session import MESSAGE_BYTES_MAX
from stepwell.server.gateway.strangers import (
    PIECE_BYTES_MAX,
    REPEAT_MS,
    TOGETHER_BYTES_MAX,
    TOGETHER_MAX,
    Guard,
    Strangers,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    import pytest


class Caller:
    """A socket that remembers whether it had to go."""

    def __init__(self) -> None:
        self.is_gone = False

    def make_room(self) -> None:
        self.is_gone = True


def came(strangers: Strangers, count: int) -> list[Caller]:
    callers = [Caller() for _ in range(count)]
    for caller in callers:
        strangers.came(caller, 0)
    return callers


def test_the_oldest_makes_room_for_the_newest() -> None:
    strangers = Strangers()
    callers = came(strangers, TOGETHER_MAX)
    assert not any(caller.is_gone for caller in callers)
    (newest,) = came(strangers, 1)
    assert [caller.is_gone for caller in callers[:2]] == [True, False]
    assert not newest.is_gone
    assert len(strangers) == TOGETHER_MAX


def test_the_one_that_sent_most_makes_room_for_bytes() -> None:
    strangers = Strangers()
    small, large, middle = came(strangers, 3)
    strangers.sent(large, TOGETHER_BYTES_MAX - 10, 0)
    strangers.sent(middle, 6, 0)
    strangers.sent(small, 4, 0)
    assert not large.is_gone
    strangers.sent(small, 1, 0)
    assert (small.is_gone, middle.is_gone, large.is_gone) == (False, False, True)
    strangers.sent(middle, TOGETHER_BYTES_MAX - 11, 0)  # the room of the large one is free again
    assert not middle.is_gone


def test_who_sends_too_much_may_itself_be_the_one() -> None:
    strangers = Strangers()
    (caller,) = came(strangers, 1)
    strangers.sent(caller, TOGETHER_BYTES_MAX + 1, 0)
    assert caller.is_gone
    assert len(strangers) == 0


def test_one_that_left_counts_no_more() -> None:
    strangers = Strangers()
    worker, other = came(strangers, 2)
    strangers.sent(worker, TOGETHER_BYTES_MAX, 0)
    strangers.left(worker)
    strangers.left(worker)
    strangers.sent(worker, 1, 0)
    strangers.sent(other, TOGETHER_BYTES_MAX, 0)
    assert not other.is_gone


def test_a_flood_is_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers()
    for now_ms in (0, 1, REPEAT_MS - 1, REPEAT_MS):
        (caller,) = came(strangers, 1)
        strangers.sent(caller, TOGETHER_BYTES_MAX + 1, now_ms)
    assert [record.__dict__["closed"] for record in caplog.records] == [1, 3]


class Inner(asyncio.BufferedProtocol):
    """A protocol with a large buffer, and what it was told."""

    def __init__(self) -> None:
        self.buffer = bytearray(4 * 2**20)
        self.told: list[object] = []

    def get_buffer(self, _sizehint: int) -> memoryview:
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.told.append(nbytes)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc)


class Tcp:
    """A transport that has a protocol and can stop reading."""

    def __init__(self) -> None:
        self.inner = Inner()
        self.protocol: asyncio.BaseProtocol = self.inner
        self.reads = True

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def guard(self, *, room: int) -> Guard:
        return Guard(cast("asyncio.Transport", self), lambda count: count <= room)


@on_loop
async def test_a_guard_passes_all_on() -> None:
    tcp = Tcp()
    guard = tcp.guard(room=100)
    assert tcp.protocol is guard
    guard.get_buffer(-1)[:2] = b"ab"
    assert tcp.inner.buffer[:2] == b"ab"
    guard.buffer_updated(100)
    guard.pause_writing()
    guard.resume_writing()
    assert guard.eof_received() is False
    error = OSError()
    guard.connection_lost(error)
    assert tcp.inner.told == [100, "pause", "resume", "eof", error]


@on_loop
async def test_a_guard_reads_one_piece_in_a_turn() -> None:
    tcp = Tcp()
    guard = tcp.guard(room=PIECE_BYTES_MAX)
    assert len(guard.get_buffer(-1)) == PIECE_BYTES_MAX
    guard.buffer_updated(PIECE_BYTES_MAX - 1)
    assert tcp.reads
    guard.buffer_updated(PIECE_BYTES_MAX)
    assert not tcp.reads
    await asyncio.sleep(0)
    assert tcp.reads
    assert tcp.inner.told == [PIECE_BYTES_MAX - 1, PIECE_BYTES_MAX]


@on_loop
async def test_a_guard_that_steps_aside_is_out_of_the_way() -> None:
    tcp = Tcp()
    guard = tcp.guard(room=PIECE_BYTES_MAX)
    guard.buffer_updated(PIECE_BYTES_MAX)
    guard.step_aside()
    assert tcp.protocol is tcp.inner
    assert tcp.reads
    tcp.reads = False  # by the connection, for reasons of its own
    await asyncio.sleep(0)
    assert not tcp.reads


@on_loop
async def test_a_guard_drops_what_is_not_admitted_and_in_the_end_reads_no_more() -> None:
    tcp = Tcp()
    guard = tcp.guard(room=100)
    guard.buffer_updated(101)
    guard.buffer_updated(50)  # would have been admitted before
    guard.get_buffer(-1)[:2] = b"ab"
    assert tcp.inner.told == []
    assert tcp.inner.buffer[:2] == b"\0\0"
    for room_bytes in (MESSAGE_BYTES_MAX - 50, 0):
        guard.buffer_updated(max(room_bytes, PIECE_BYTES_MAX))
        assert not tcp.reads
        await asyncio.sleep(0)
        assert tcp.reads is bool(room_bytes)
