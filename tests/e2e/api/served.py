"""A whole server in this process, in memory, with its API and raw workers."""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from websockets.asyncio.client import connect as websocket_connect

from stepwell.server.app import Server
from stepwell.server.settings import Settings
from stepwell.wire.connect import (
    SUBPROTOCOL,
    ConnectMessage,
    GatewayExecutorRequestData,
    Kind,
    StartResponse,
)
from tests.unit.server.gateway import messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

    from stepwell.wire.connect import AppConfiguration

ANSWER_WAIT_S = 5.0


class Worker:
    """A raw socket that went through start and handshake."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *data: bytes) -> None:
        for message in data:
            await self.socket.send(message)

    async def receive(self, kind: Kind) -> bytes:
        """The payload of the next message of this kind; heartbeats are passed over."""
        async with asyncio.timeout(ANSWER_WAIT_S):
            while True:
                message = ConnectMessage.FromString(await self.socket.recv())  # type: ignore[arg-type]
                if Kind(message.kind) is kind:
                    return message.payload
                assert Kind(message.kind) is Kind.GATEWAY_HEARTBEAT, Kind(message.kind)

    async def call(self) -> Call:
        """The next call."""
        return Call(await self.receive(Kind.GATEWAY_EXECUTOR_REQUEST))

    async def is_idle(self) -> bool:
        """Whether nothing was sent to it until now."""
        await self.send(messages.HEARTBEAT)
        async with asyncio.timeout(ANSWER_WAIT_S):
            message = ConnectMessage.FromString(await self.socket.recv())  # type: ignore[arg-type]
        return Kind(message.kind) is Kind.GATEWAY_HEARTBEAT

    async def finish(self, call: Call, result: bytes = b'"done"') -> None:
        """Acknowledge a call, return from its function, and have that acknowledged."""
        await self.send(messages.ack(call.id), messages.reply(call.id, status=1, body=result))
        await self.receive(Kind.WORKER_REPLY_ACK)


class Call:
    """GATEWAY_EXECUTOR_REQUEST, read."""

    def __init__(self, payload: bytes) -> None:
        self.fields = GatewayExecutorRequestData.FromString(payload)
        self.id = self.fields.request_id
        self.body: dict[str, Any] = msgspec.json.decode(self.fields.request_payload)

    @property
    def ctx(self) -> dict[str, Any]:
        ctx: dict[str, Any] = self.body["ctx"]
        return ctx


class Served:
    """The server and a client for its API."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        data = None if body is None else io.BytesIO(body)
        async with self._session.request(
            method, self.server.api_url + path, data=data, headers=headers
        ) as response:
            return response.status, await response.read()

    async def get(self, path: str) -> Any:
        status, body = await self.request("GET", path)
        assert status == 200, body
        return msgspec.json.decode(body)

    async def send_event(self, name: str = "shop/order.paid", **fields: Any) -> str:
        """Send an event; its internal id."""
        body = msgspec.json.encode({"name": name, "data": {"order": 7}} | fields)
        status, answer = await self.request("POST", "/e/key", body)
        assert status == 200, answer
        event_id: str = msgspec.json.decode(answer)["ids"][0]
        return event_id

    async def runs_of(self, event_id: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = (await self.get(f"/v1/events/{event_id}/runs"))["data"]
        return runs

    async def ended(self, event_id: str) -> dict[str, Any]:
        """The only run of an event, once it is over."""
        async with asyncio.timeout(ANSWER_WAIT_S):
            while True:
                (run,) = await self.runs_of(event_id)
                if run["ended_at"] is not None:
                    return run
                await asyncio.sleep(0.005)

    @contextlib.asynccontextmanager
    async def worker(
        self, *apps: AppConfiguration, headers: dict[str, str] | None = None, **fields: Any
    ) -> AsyncIterator[Worker]:
        """A worker that is ready; it asked the API where to connect."""
        status, body = await self.request("POST", "/v0/connect/start", b"", **(headers or {}))
        assert status == 200, body
        start = StartResponse.FromString(body)
        hello = messages.hello(
            *apps,
            connection_id=start.connection_id,
            session_token=start.session_token,
            **fields,
        )
        hello.auth_data.sync_token = start.sync_token
        async with websocket_connect(
            start.gateway_endpoint,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]  # its texts are a NewType
            compression=None,
            max_size=None,
            proxy=None,
            close_timeout=1,
        ) as socket:
            worker = Worker(socket)
            await worker.receive(Kind.GATEWAY_HELLO)
            await worker.send(messages.envelope(Kind.WORKER_CONNECT, hello))
            await worker.receive(Kind.GATEWAY_CONNECTION_READY)
            yield worker


@contextlib.asynccontextmanager
async def serve(**settings: Any) -> AsyncIterator[Served]:
    """A server on free ports."""
    given: dict[str, Any] = {"in_memory": True, "port": 0, "connect_gateway_port": 0}
    given |= {"no_discovery": True} | settings
    async with Server(Settings(**given)) as server, aiohttp.ClientSession() as session:
        yield Served(server, session)
