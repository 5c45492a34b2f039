"""A worker's socket without an SDK: it sends and receives whole messages, right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import websockets
from websockets.asyncio.client import connect as websocket_connect

from stepwell.server.gateway import Gateway
from stepwell.server.settings import Settings
from stepwell.server.workers import WorkerBook
from stepwell.wire.connect import SUBPROTOCOL, ConnectMessage, Kind
from stepwell.wire.ids import ulid_text
from tests.unit.server.gateway import messages
from tests.unit.server.recording_runtime import RecordingRuntime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from websockets.asyncio.client import ClientConnection

    from stepwell.server.gateway.clock import Clock
    from stepwell.wire.connect import AppConfiguration

ANSWER_WAIT_S = 5.0


class RawWorker:
    """One socket. `messages` builds what it sends."""

    def __init__(self, socket: ClientConnection, bench: Bench) -> None:
        self.socket = socket
        self.connection_id = bench.new_connection_id()
        self._bench = bench

    async def send(self, *data: bytes) -> None:
        for message in data:
            await self.socket.send(message)

    async def receive(self) -> tuple[Kind, bytes]:
        """The next message: its kind and payload."""
        async with asyncio.timeout(ANSWER_WAIT_S):
            data = await self.socket.recv()
        assert isinstance(data, bytes), "the gateway sends binary messages only"
        message = ConnectMessage.FromString(data)
        return Kind(message.kind), message.payload

    async def receive_kind(self, kind: Kind) -> bytes:
        """The payload of the next message, which must be of this kind."""
        received, payload = await self.receive()
        assert received is kind
        return payload

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the gateway's close frame, whatever comes before it."""
        async with asyncio.timeout(ANSWER_WAIT_S):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""

    def hello(self, *apps: AppConfiguration, **fields: Any) -> bytes:
        """A right WORKER_CONNECT, but for `fields`."""
        fields.setdefault("connection_id", self.connection_id)
        fields.setdefault(
            "session_token", self._bench.gateway.mint_session_token(self.connection_id)
        )
        return messages.connect(*apps, **fields)

    async def handshake(self, *apps: AppConfiguration, **fields: Any) -> None:
        """From the open socket to CONNECTION_READY."""
        await self.receive_kind(Kind.GATEWAY_HELLO)
        await self.send(self.hello(*apps, **fields))
        await self.receive_kind(Kind.GATEWAY_CONNECTION_READY)


class Bench:
    """A gateway over a recording runtime, and workers for it."""

    def __init__(self, *, gateway: Gateway, runtime: RecordingRuntime, book: WorkerBook) -> None:
        self.gateway = gateway
        self.runtime = runtime
        self.book = book
        self.port = 0

    def new_connection_id(self) -> str:
        return ulid_text(self.runtime.ids.ulid(self.runtime.now_ms()))

    @contextlib.asynccontextmanager
    async def socket(
        self, *, subprotocols: Sequence[str] = (SUBPROTOCOL,), **options: Any
    ) -> AsyncIterator[RawWorker]:
        """An open socket, before any message."""
        async with websocket_connect(
            f"ws://127.0.0.1:{self.port}/v0/connect",
            subprotocols=subprotocols or None,  # type: ignore[arg-type]  # its texts are a NewType
            compression=None,
            max_size=None,
            proxy=None,
            close_timeout=2,
            **options,
        ) as socket:
            yield RawWorker(socket, self)

    @contextlib.asynccontextmanager
    async def worker(self, *apps: AppConfiguration, **fields: Any) -> AsyncIterator[RawWorker]:
        """A worker that is connected and ready."""
        async with self.socket() as worker:
            await worker.handshake(*apps, **fields)
            yield worker

    async def http(self, request: bytes) -> bytes:
        """The whole answer to a raw HTTP request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            async with asyncio.timeout(ANSWER_WAIT_S):
                return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def open_bench(*, clock: Clock | None = None, **settings: Any) -> AsyncIterator[Bench]:
    """A gateway on a free port; on exit it must have ended everything that it began."""
    runtime = RecordingRuntime()
    book = WorkerBook()
    gateway = Gateway(
        runtime=runtime,  # type: ignore[arg-type]  # it has the part that the gateway uses
        settings=Settings(**settings),
        book=book,
        secret=b"s" * 32,
        clock=clock,
    )
    bench = Bench(gateway=gateway, runtime=runtime, book=book)
    async with gateway:
        bench.port = await gateway.listen("127.0.0.1", 0)
        yield bench
    assert gateway.connection_count == 0
    assert book.live_count == 0


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds: for what no message tells of."""
    async with asyncio.timeout(ANSWER_WAIT_S):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
