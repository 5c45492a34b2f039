"""One socket: how it is opened, and what its end looks like."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import serve
from websockets.typing import Subprotocol

from stepwell.connect.dial import PlainSocket, dial
from stepwell.connect.http import ServerUnreachable
from stepwell.connect.session import Fact, Over, Phase, Session
from stepwell.wire.connect import SUBPROTOCOL, Kind
from tests.unit.connect.gateway import Gateway
from tests.unit.connect.loop import on_loop
from tests.unit.connect.sockets import dial_with_help_only, link_to

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response


@pytest.fixture(autouse=True, params=["direct", "loop"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test is run with both kinds of links."""
    if request.param == "loop":
        dial_with_help_only(monkeypatch)
    return str(request.param)


async def hang_up(socket: PlainSocket | ClientConnection) -> None:
    if isinstance(socket, PlainSocket):
        socket.tcp.close()
    else:
        await socket.close()


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


@on_loop
async def test_socket_speaks_the_subprotocol_without_compression(kind: str) -> None:
    async with Gateway() as gateway:
        socket = await dial(gateway.gateway_url)

        assert isinstance(socket, PlainSocket) is (kind == "direct")
        assert socket.protocol.subprotocol == SUBPROTOCOL
        assert socket.protocol.extensions == []
        await hang_up(socket)


@on_loop
async def test_gateway_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(ServerUnreachable, match=f"ws://127.0.0.1:{port}/v0/connect"):
        await dial(f"ws://127.0.0.1:{port}/v0/connect")


@on_loop
async def test_server_that_is_no_gateway_is_named() -> None:
    def refuse(connection: ServerConnection, _request: Request) -> Response:
        return connection.respond(HTTPStatus.NOT_FOUND, "no such page")

    async def never(_socket: ServerConnection) -> None:
        raise AssertionError("refused before")

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        with pytest.raises(ServerUnreachable, match="404"):
            await dial(f"ws://127.0.0.1:{port}")


@on_loop
async def test_end_of_the_socket_is_the_end_of_the_session() -> None:
    facts: list[Fact] = []
    async with Gateway() as gateway:
        session = Session(b"hello", now_ms())
        async with link_to(
            gateway.gateway_url, session, on_fact=lambda _link, fact: facts.append(fact)
        ) as opened:
            peer = await gateway.accept()
            assert not opened.link.is_leaving

            await peer.close(1008, "connect_authentication_failed")
            await opened.ended()

    link = opened.link
    assert link.is_leaving
    assert link.close_reason == "connect_authentication_failed"
    assert session.phase is Phase.OVER
    with pytest.raises(ServerUnreachable, match="connect_authentication_failed"):
        await link.ready
    assert facts == []


@on_loop
async def test_session_is_woken_when_it_wants_to_be() -> None:
    facts: list[Fact] = []
    async with Gateway() as gateway:
        session = Session(b"hello", now_ms() - 4_950)  # HELLO is due in 50 ms
        async with link_to(
            gateway.gateway_url, session, on_fact=lambda _link, fact: facts.append(fact)
        ) as opened:
            peer = await gateway.accept()

            assert await peer.closed() == (4001, "UNEXPECTED")
            await opened.ended()

    assert facts == [Over(reason="the gateway said nothing")]
    link = opened.link
    link.refuse(RuntimeError("the attempt is over"))
    with pytest.raises(ServerUnreachable):
        await link.ready


@on_loop
async def test_message_over_the_limit_ends_the_socket() -> None:
    async def flood(socket: ServerConnection) -> None:
        await socket.send(b"x" * (17 * 2**20))
        await socket.wait_closed()

    async with serve(flood, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        session = Session(b"hello", now_ms())
        async with link_to(f"ws://127.0.0.1:{port}", session) as opened:
            await opened.ended()

    assert session.phase is Phase.OVER
    with pytest.raises(ServerUnreachable):
        await opened.link.ready


@pytest.mark.parametrize(
    "url",
    ["ws://[::1", "ws://127.0.0.1:99999/x", "ws://\u2100.example/x", f"ws://{'a' * 70}.x/x"],
)
def test_address_that_cannot_be_one_is_a_gateway_out_of_reach(url: str) -> None:
    @on_loop
    async def run() -> None:
        with pytest.raises(ServerUnreachable, match="cannot connect to the gateway at ws://"):
            await dial(url)

    run()


@on_loop
async def test_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with Gateway() as gateway:
        socket = await dial(gateway.gateway_url)

        await hang_up(socket)


@on_loop
async def test_reply_counts_as_gone_when_it_was_written() -> None:
    left: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    async with (
        Gateway() as gateway,
        link_to(
            gateway.gateway_url,
            Session(b"", now_ms()),
            on_reply_left=lambda _link, key: (
                loop.call_soon_threadsafe(left.put_nowait, key) and None
            ),
        ) as opened,
    ):
        peer = await gateway.accept()
        await peer.handshake()
        await opened.link.ready

        # The peer does not read on, so most of the second one stays here.
        with opened.lock:
            opened.link.session.reply("small", b"x")
            opened.link.session.reply("large", b"x" * (14 * 2**20))
            opened.link.session.reply("behind", b"x")
            opened.link.kick()

        assert await left.get() == "small"
        assert left.empty()
        assert (await peer.expect(Kind.WORKER_REPLY)) == b"x"
        await peer.expect(Kind.WORKER_REPLY)
        await peer.expect(Kind.WORKER_REPLY)
        assert [await left.get(), await left.get()] == ["large", "behind"]
        await peer.close()
        await opened.ended()
