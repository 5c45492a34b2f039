"""One socket: how it is opened, and what its end looks like."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import uvloop
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from stepwell.connect.dial import PlainSocket, dial
from stepwell.connect.http import ServerUnreachable
from stepwell.connect.link import TOO_BIG
from stepwell.connect.loop_link import LoopLink
from stepwell.connect.session import CallCame, Draining, Fact, Over, Phase, Ready, Session
from stepwell.wire.connect import SUBPROTOCOL, ConnectMessage, Kind
from tests.unit.connect.gateway import Gateway, request
from tests.unit.connect.loop import on_loop
from tests.unit.connect.sockets import link_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Response

    from stepwell.connect.link import Link


pytestmark = pytest.mark.usefixtures("kind")


async def hang_up(socket: PlainSocket | ClientConnection) -> None:
    if isinstance(socket, PlainSocket):
        socket.tcp.close()
    else:
        await socket.close()


HANDSHAKE = (Kind.GATEWAY_HELLO, Kind.GATEWAY_CONNECTION_READY, Kind.GATEWAY_EXECUTOR_REQUEST)


def envelope(kind: Kind) -> bytes:
    """A message as it is on the wire; a call is `request()`."""
    payload = request().SerializeToString() if kind is Kind.GATEWAY_EXECUTOR_REQUEST else b""
    message = ConnectMessage(kind=int(kind), payload=payload)  # type: ignore[arg-type]
    return message.SerializeToString()


def url_of(server: Server | asyncio.Server) -> str:
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def into(facts: asyncio.Queue[Fact]) -> Callable[[Link, Fact], None]:
    """Collects facts, on whichever thread they come."""
    loop = asyncio.get_running_loop()

    def take(_link: Link, fact: Fact) -> None:
        loop.call_soon_threadsafe(facts.put_nowait, fact)

    return take


def one_packet(
    messages: list[bytes], *, close: int
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]:
    """A server that says all it has to say together with its answer to the handshake."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (asked,) = protocol.events_received()
        assert isinstance(asked, Request)
        protocol.send_response(protocol.accept(asked))
        for message in messages:
            protocol.send_binary(message)
        protocol.send_close(close, "enough")
        writer.write(b"".join(protocol.data_to_send()))
        while protocol.close_rcvd is None:
            protocol.receive_data(await reader.read(2**16))
        writer.close()

    return speak


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
async def test_server_that_hangs_up_is_named() -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        with pytest.raises(ServerUnreachable, match=f"ws://127.0.0.1:{port}"):
            await dial(f"ws://127.0.0.1:{port}")


@on_loop
async def test_redirect_is_followed() -> None:
    async with Gateway() as gateway:

        def redirect(connection: ServerConnection, _request: Request) -> Response:
            response = connection.respond(HTTPStatus.TEMPORARY_REDIRECT, "over there")
            response.headers["Location"] = gateway.gateway_url
            return response

        async def never(_socket: ServerConnection) -> None:
            raise AssertionError("redirected before")

        async with serve(never, "127.0.0.1", 0, process_request=redirect) as server:
            port = next(iter(server.sockets)).getsockname()[1]

            socket = await dial(f"ws://127.0.0.1:{port}")

            await gateway.accept()
            await hang_up(socket)


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


@pytest.mark.parametrize("fragments", [1, 17])
def test_message_over_the_limit_ends_the_socket(fragments: int) -> None:
    @on_loop
    async def run() -> None:
        await over_the_limit(fragments)

    run()


async def over_the_limit(fragments: int) -> None:
    said: asyncio.Queue[int] = asyncio.Queue()

    async def flood(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await socket.send([b"x" * (17 * 2**20 // fragments)] * fragments)
        await socket.wait_closed()
        said.put_nowait(socket.close_code or 0)

    async with serve(flood, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        session = Session(b"hello", now_ms())
        async with link_to(f"ws://127.0.0.1:{port}", session) as opened:
            await opened.ended()
        assert await said.get() == TOO_BIG

    assert session.phase is Phase.OVER
    with pytest.raises(ServerUnreachable):
        await opened.link.ready


@on_loop
async def test_message_in_fragments_is_one_and_pings_are_answered_between() -> None:
    facts: asyncio.Queue[Fact] = asyncio.Queue()
    pongs: asyncio.Queue[float] = asyncio.Queue()
    hello, ready, call = (envelope(kind) for kind in HANDSHAKE)

    async def speak(socket: ServerConnection) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield call[:10]
            pongs.put_nowait(await (await socket.ping()))
            yield b""
            yield call[10:]

        await socket.send(hello)
        await socket.send(ready)
        await socket.send(parts())
        await socket.wait_closed()

    async with (
        serve(speak, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)]) as server,
        link_to(url_of(server), Session(b"", now_ms()), on_fact=into(facts)),
    ):
        assert isinstance(await facts.get(), Ready)
        came = await facts.get()

    assert isinstance(came, CallCame)
    assert came.request == request()
    assert not pongs.empty()


@on_loop
async def test_what_comes_in_one_packet_with_the_handshake_is_taken_in_order() -> None:
    facts: asyncio.Queue[Fact] = asyncio.Queue()
    messages = [envelope(kind) for kind in (*HANDSHAKE, Kind.GATEWAY_CLOSING)]
    async with (
        await asyncio.start_server(one_packet(messages, close=1008), "127.0.0.1", 0) as server,
        link_to(url_of(server), Session(b"", now_ms()), on_fact=into(facts)) as opened,
    ):
        await opened.ended()

        kinds = [type(await facts.get()) for _ in range(3)]
        assert kinds == [Ready, CallCame, Draining]
        assert (opened.link.close_code, opened.link.close_reason) == (1008, "enough")


@on_loop
async def test_close_from_here_arrives_behind_what_was_to_be_sent() -> None:
    async with (
        Gateway() as gateway,
        link_to(gateway.gateway_url, Session(b"", now_ms())) as opened,
    ):
        peer = await gateway.accept()
        await peer.handshake()
        await opened.link.ready

        with opened.lock:
            opened.link.session.reply("last", b"x" * 2**20)
            opened.link.close("WORKER_SHUTDOWN")

        assert len(await peer.expect(Kind.WORKER_REPLY)) == 2**20
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
        await opened.ended()


@on_loop
async def test_text_ends_the_socket() -> None:
    facts: asyncio.Queue[Fact] = asyncio.Queue()
    async with (
        Gateway() as gateway,
        link_to(gateway.gateway_url, Session(b"", now_ms()), on_fact=into(facts)) as opened,
    ):
        peer = await gateway.accept()

        await peer.send_raw("text")

        assert (await peer.closed())[0] == 1007
        await opened.ended()
    assert isinstance(facts.get_nowait(), Over)


@on_loop
async def test_peer_that_goes_in_the_midst_of_a_reply_has_not_got_it() -> None:
    left: list[str] = []
    async with (
        Gateway() as gateway,
        link_to(
            gateway.gateway_url,
            Session(b"", now_ms()),
            on_reply_left=lambda _link, request_id: left.append(request_id),
        ) as opened,
    ):
        peer = await gateway.accept()
        await peer.handshake()
        await opened.link.ready

        with opened.lock:
            opened.link.session.reply("large", b"x" * (14 * 2**20))
            opened.link.kick()
        peer.cut()
        await opened.ended()

    assert left == []
    assert opened.link.session.phase is Phase.OVER


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

    def note(_link: Link, request_id: str) -> None:
        loop.call_soon_threadsafe(left.put_nowait, request_id)

    async with (
        Gateway() as gateway,
        link_to(
            gateway.gateway_url,
            Session(b"", now_ms()),
            on_reply_left=note,
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


def test_what_is_due_at_once_may_be_armed_again_on_uvloop() -> None:
    """A process that stood still finds everything due, and uvloop's handle of that has no time."""

    async def story() -> None:
        async def say_nothing(socket: ServerConnection) -> None:
            await socket.wait_closed()

        async with (
            serve(say_nothing, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)]) as server,
            link_to(url_of(server), Session(b"", 0)) as opened,
        ):
            with opened.lock:
                opened.link.kick()
                opened.link.kick()
            await opened.ended()
            assert opened.link.session.phase is Phase.OVER

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a gateway on this machine; programs that are started here trust it."""
    chain = tmp_path / "chain.pem"
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {chain} -out {tmp_path / 'cert.pem'}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    with chain.open("a") as file:
        file.write((tmp_path / "cert.pem").read_text())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")
@on_loop
async def test_gateway_may_speak_tls(certificate: ssl.SSLContext) -> None:
    facts: asyncio.Queue[Fact] = asyncio.Queue()

    async def speak(socket: ServerConnection) -> None:
        for kind in HANDSHAKE:
            await socket.send(envelope(kind))
        await socket.wait_closed()

    async with serve(
        speak, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], ssl=certificate
    ) as server:
        url = url_of(server).replace("ws:", "wss:")
        async with link_to(url, Session(b"", now_ms()), on_fact=into(facts)) as opened:
            assert isinstance(opened.link, LoopLink)
            assert [type(await facts.get()) for _ in range(2)] == [Ready, CallCame]
