"""A socket on plain TCP: who reads it, and what happens when that one does not."""

from __future__ import annotations

import asyncio
import gc
import socket as sockets
import struct
import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
import uvloop
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from stepwell.connect.session import CallCame, Draining, Fact, Phase, Ready, Session
from stepwell.wire.connect import SUBPROTOCOL, ConnectMessage, Kind
from tests.unit.connect.gateway import Gateway, Peer
from tests.unit.connect.loop import on_loop
from tests.unit.connect.sockets import WAIT_S, Block, CallerThread, Opened, link_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.connect.link import Link

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


class Blind(asyncio.SelectorEventLoop):
    """A loop that cannot watch sockets, or cannot watch any more of them."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def add_reader(self, *_args: object) -> None:
        raise self._error


BLIND = pytest.mark.parametrize(
    "error", [NotImplementedError(), OSError(24, "Too many open files")], ids=["kind", "files"]
)


class Came(NamedTuple):
    """A fact, and the thread that it came on."""

    fact: Fact
    thread_id: int


class Facts:
    """Takes the facts of a link: acknowledges calls, and lets the test wait for them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._came: asyncio.Queue[Came] = asyncio.Queue()

    def take(self, link: Link, fact: Fact) -> None:
        if isinstance(fact, CallCame):
            request_id = fact.request.request_id
            link.session.ack(request_id, request_id.encode)
        self._loop.call_soon_threadsafe(self._came.put_nowait, Came(fact, threading.get_ident()))

    async def next(self) -> Came:
        async with asyncio.timeout(WAIT_S):
            return await self._came.get()


async def connected(gateway: Gateway, opened: Opened, facts: Facts) -> Peer:
    peer = await gateway.accept()
    await peer.handshake()
    assert isinstance((await facts.next()).fact, Ready)
    return peer


async def reader_of_a_call(peer: Peer, facts: Facts) -> int:
    """The thread that reads a call, which is acknowledged."""
    await peer.call()
    came = await facts.next()
    assert isinstance(came.fact, CallCame)
    assert await peer.expect(Kind.WORKER_REQUEST_ACK) == b"req-1"
    return came.thread_id


async def until_read_by(thread_id: int | None, peer: Peer, facts: Facts) -> None:
    async with asyncio.timeout(WAIT_S):
        while await reader_of_a_call(peer, facts) != thread_id:
            continue


def fresh_session() -> Session:
    """One whose timers do not fire in the middle of a test, and move what is stuck."""
    return Session(b"", int(asyncio.get_running_loop().time() * 1000) + 60_000)


@LOOPS
def test_program_that_runs_functions_reads_their_calls(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    @on_loop
    async def run() -> None:
        facts = Facts()
        with CallerThread(new_loop) as caller:
            async with (
                Gateway() as gateway,
                link_to(
                    gateway.gateway_url, fresh_session(), on_fact=facts.take, caller=caller
                ) as opened,
            ):
                peer = await connected(gateway, opened, facts)

                await until_read_by(caller.thread_id, peer, facts)

                opened.link.close("WORKER_SHUTDOWN")
                assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
                await opened.ended()

    run()


@LOOPS
def test_blocked_program_is_stood_in_for_until_it_is_back(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    @on_loop
    async def run() -> None:
        facts = Facts()
        with CallerThread(new_loop) as caller:
            async with (
                Gateway() as gateway,
                link_to(
                    gateway.gateway_url, fresh_session(), on_fact=facts.take, caller=caller
                ) as opened,
            ):
                peer = await connected(gateway, opened, facts)
                for _ in range(2):
                    await until_read_by(caller.thread_id, peer, facts)

                    async with Block(caller):
                        for _ in range(20):
                            assert await reader_of_a_call(peer, facts) == threading.get_ident()

                await until_read_by(caller.thread_id, peer, facts)

    run()


@on_loop
async def test_what_waits_for_the_end_of_a_turn_leaves_when_the_turn_does_not_end() -> None:
    facts = Facts()
    with CallerThread() as caller:
        async with (
            Gateway() as gateway,
            link_to(
                gateway.gateway_url, fresh_session(), on_fact=facts.take, caller=caller
            ) as opened,
        ):
            peer = await connected(gateway, opened, facts)
            await until_read_by(caller.thread_id, peer, facts)

            def outcome() -> None:
                with opened.lock:
                    opened.link.session.reply("req-1", b"outcome")
                    opened.link.kick()

            async with Block(caller, first=outcome):
                assert await peer.expect(Kind.WORKER_REPLY) == b"outcome"


@on_loop
async def test_turns_that_block_one_after_another_hold_up_one_outcome_at_most() -> None:
    facts = Facts()
    with CallerThread() as caller:
        async with (
            Gateway() as gateway,
            link_to(
                gateway.gateway_url, fresh_session(), on_fact=facts.take, caller=caller
            ) as opened,
        ):
            peer = await connected(gateway, opened, facts)
            await until_read_by(caller.thread_id, peer, facts)

            def outcome(request_id: str) -> None:
                with opened.lock:
                    opened.link.session.reply(request_id, request_id.encode())
                    opened.link.kick()

            # In the same turn of the loop, so that it does not come to anything between them.
            first = Block(caller, first=partial(outcome, "a"))
            second = Block(caller, first=partial(outcome, "b"))
            async with Block(caller) as before:
                first.begin()
                second.begin()
                before.end()
                assert await peer.expect(Kind.WORKER_REPLY) == b"a"
                first.end()
                assert await peer.expect(Kind.WORKER_REPLY) == b"b"
                second.end()


@BLIND
def test_loop_that_cannot_watch_the_socket_is_done_without(error: Exception) -> None:
    @on_loop
    async def run() -> None:
        facts = Facts()
        with CallerThread(lambda: Blind(error)) as caller:
            async with (
                Gateway() as gateway,
                link_to(
                    gateway.gateway_url, fresh_session(), on_fact=facts.take, caller=caller
                ) as opened,
            ):
                peer = await connected(gateway, opened, facts)
                await caller.turn()

                assert await reader_of_a_call(peer, facts) == threading.get_ident()

                def outcome() -> None:
                    with opened.lock:
                        opened.link.session.reply("req-1", b"outcome")
                        opened.link.kick()

                async with Block(caller, first=outcome):
                    assert await peer.expect(Kind.WORKER_REPLY) == b"outcome"

    run()


@LOOPS
def test_program_that_ends_leaves_the_socket_working(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    @on_loop
    async def run() -> None:
        facts = Facts()
        caller = CallerThread(new_loop)
        caller.__enter__()
        async with (
            Gateway() as gateway,
            link_to(
                gateway.gateway_url, fresh_session(), on_fact=facts.take, caller=caller
            ) as opened,
        ):
            peer = await connected(gateway, opened, facts)
            await until_read_by(caller.thread_id, peer, facts)

            caller.end()

            assert await reader_of_a_call(peer, facts) == threading.get_ident()
            opened.link.close("WORKER_SHUTDOWN")
            assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
            await opened.ended()

    run()
    gc.collect()  # a socket that was not closed is a warning, and that an error


@on_loop
async def test_only_calls_and_answers_are_handled_where_they_are_read() -> None:
    facts = Facts()
    with CallerThread() as caller:
        async with (
            Gateway() as gateway,
            link_to(
                gateway.gateway_url, fresh_session(), on_fact=facts.take, caller=caller
            ) as opened,
        ):
            peer = await connected(gateway, opened, facts)
            await until_read_by(caller.thread_id, peer, facts)

            await peer.send(Kind.GATEWAY_CLOSING)
            await peer.send_raw(b"\xff")

            here = threading.get_ident()
            assert await facts.next() == Came(Draining(), here)
            over = await facts.next()
            assert over.thread_id == here
            assert (await peer.closed())[0] == 1007
            await opened.ended()


@on_loop
async def test_close_that_the_program_reads_is_kept() -> None:
    facts = Facts()
    with CallerThread() as caller:
        async with (
            Gateway() as gateway,
            link_to(
                gateway.gateway_url, fresh_session(), on_fact=facts.take, caller=caller
            ) as opened,
        ):
            peer = await connected(gateway, opened, facts)
            await until_read_by(caller.thread_id, peer, facts)

            await peer.close(1009, "too big")
            await opened.ended()

        assert (opened.link.close_code, opened.link.close_reason) == (1009, "too big")
        assert opened.link.was_ready


@on_loop
async def test_failure_of_our_own_on_the_programs_thread_ends_the_run() -> None:
    facts = Facts()
    fail = threading.Event()

    def take(link: Link, fact: Fact) -> None:
        if fail.is_set():
            raise LookupError("ours")
        facts.take(link, fact)

    with CallerThread() as caller:
        async with (
            Gateway() as gateway,
            link_to(gateway.gateway_url, fresh_session(), on_fact=take, caller=caller) as opened,
        ):
            peer = await connected(gateway, opened, facts)
            await until_read_by(caller.thread_id, peer, facts)

            fail.set()
            await peer.call()

            with pytest.raises(LookupError, match="ours"):
                await opened.ended()
            assert opened.lock.acquire(blocking=False)
            opened.lock.release()
            assert opened.link.session.phase is Phase.OVER


@on_loop
async def test_peer_that_resets_is_heard_out() -> None:
    """It says that a reply is too large, and goes without reading the rest of it."""
    facts = Facts()
    with (
        CallerThread(lambda: Blind(NotImplementedError())) as caller,
        sockets.create_server(("127.0.0.1", 0)) as listener,
    ):
        listener.setblocking(False)
        protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        accepted = asyncio.create_task(accept(listener, protocol))
        async with link_to(
            f"ws://127.0.0.1:{listener.getsockname()[1]}",
            fresh_session(),
            on_fact=facts.take,
            caller=caller,
        ) as opened:
            tcp = await accepted
            await facts.next()
            await caller.turn()

            # Not a turn of this loop between them, so sending is what fails.
            protocol.send_close(1009, "too big")
            tcp.send(b"".join(protocol.data_to_send()))
            tcp.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            tcp.close()
            with opened.lock:
                opened.link.session.reply("large", b"x" * 2**20)
                opened.link.kick()
            await opened.ended()

        assert (opened.link.close_code, opened.link.close_reason) == (1009, "too big")


async def accept(listener: sockets.socket, protocol: ServerProtocol) -> sockets.socket:
    """Take a worker's connection as far as READY."""
    loop = asyncio.get_running_loop()
    tcp, _address = await loop.sock_accept(listener)
    protocol.receive_data(await loop.sock_recv(tcp, 2**16))
    (asked,) = protocol.events_received()
    assert isinstance(asked, Request)
    protocol.send_response(protocol.accept(asked))
    for kind in (Kind.GATEWAY_HELLO, Kind.GATEWAY_CONNECTION_READY):
        message = ConnectMessage(kind=int(kind))  # type: ignore[arg-type]
        protocol.send_binary(message.SerializeToString())
    await loop.sock_sendall(tcp, b"".join(protocol.data_to_send()))
    return tcp
