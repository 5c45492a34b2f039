"""Many cheap workers in one process.

    python -m tests.chaos.transport.crowd API GATEWAY NAME COUNT

Each is a socket that speaks the protocol without an SDK: it acknowledges its calls and holds them.
It reads orders, a line each, and answers each with a line of JSON when it has carried it out:

    cut      abort all sockets at once, and connect all again
    answer   answer all calls that are held, and from now on each as it comes
    count    how many calls are held

The first line that it prints says that all are active. It ends with its input.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from stepwell.wire.connect import (
    SUBPROTOCOL,
    AppConfiguration,
    AuthData,
    ConnectMessage,
    GatewayExecutorRequestData,
    Kind,
    SDKResponse,
    StartResponse,
    Status,
    WorkerConnectRequestData,
    WorkerReplyAckData,
    WorkerRequestAckData,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

APP = "crowd"
ACTIVE_S = 60.0
HEARTBEAT_S = 5.0
AGAIN_S = (0.05, 0.5)
_FUNCTION = {
    "id": f"{APP}-held",
    "name": "held",
    "triggers": [{"event": f"{APP}/held"}],
    "steps": {
        "step": {
            "id": "step",
            "name": "step",
            "runtime": {"type": "ws", "url": f"wss://connect?fnId={APP}-held&stepId=step"},
            "retries": {"attempts": 5},
        }
    },
}
_CONFIGURATION = msgspec.json.encode([_FUNCTION])


class Member(WSListener):
    """One worker. Its calls outlive its sockets."""

    def __init__(self, crowd: Crowd, instance_id: str) -> None:
        super().__init__()
        self._crowd = crowd
        self._instance_id = instance_id
        self._start = StartResponse()
        self._transport: WSTransport | None = None
        self._active: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held: dict[str, SDKResponse] = {}
        self.unacknowledged: dict[str, SDKResponse] = {}

    def abort(self) -> None:
        """Lose the socket, as in a reset."""
        if self._transport is not None:
            self._transport.underlying_transport.abort()
            self._transport = None

    async def connect(self) -> None:
        """Return when the gateway counts on it."""
        while True:
            self._active = asyncio.get_running_loop().create_future()
            try:
                self._start = await self._crowd.ask_for_start()
                await ws_connect(
                    lambda: self,
                    self._crowd.gateway_url,
                    extra_headers={"Sec-WebSocket-Protocol": SUBPROTOCOL},
                )
                await self._active
            except (OSError, aiohttp.ClientError, EOFError):
                await asyncio.sleep(random.uniform(*AGAIN_S))
                continue
            self.send_replies()
            return

    def answer(self) -> None:
        """Send a reply to each call that is held."""
        self.unacknowledged |= self.held
        self.held.clear()
        self.send_replies()

    def send_replies(self) -> None:
        for reply in self.unacknowledged.values():
            self._send(Kind.WORKER_REPLY, reply)

    def beat(self) -> None:
        self._send(Kind.WORKER_HEARTBEAT, None)

    # --- what picows calls ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._transport is transport:
            self._transport = None
        if not self._active.done():
            self._active.set_exception(EOFError())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.BINARY:
            return
        message = ConnectMessage.FromString(frame.get_payload_as_bytes())
        match message.kind:
            case Kind.GATEWAY_HELLO:
                self._send(Kind.WORKER_CONNECT, self._hello())
            case Kind.GATEWAY_CONNECTION_READY if not self._active.done():
                self._active.set_result(None)
            case Kind.GATEWAY_EXECUTOR_REQUEST:
                self._take(GatewayExecutorRequestData.FromString(message.payload).request_id)
            case Kind.WORKER_REPLY_ACK:
                request_id = WorkerReplyAckData.FromString(message.payload).request_id
                self.unacknowledged.pop(request_id, None)

    def _take(self, request_id: str) -> None:
        self._send(Kind.WORKER_REQUEST_ACK, WorkerRequestAckData(request_id=request_id))
        self.held[request_id] = SDKResponse(
            request_id=request_id,
            status=int(Status.DONE),  # type: ignore[arg-type]  # the wire has the number
            body=msgspec.json.encode(uuid.uuid4().hex),
            request_version=2,
        )
        if self._crowd.answers:
            self.answer()

    def _hello(self) -> WorkerConnectRequestData:
        return WorkerConnectRequestData(
            connection_id=self._start.connection_id,
            instance_id=self._instance_id,
            auth_data=AuthData(session_token=self._start.session_token),
            capabilities=b'{"connect":"v1"}',
            apps=[AppConfiguration(app_name=APP, functions=_CONFIGURATION)],
            framework="connect",
            sdk_version="0.0.0",
            sdk_language="py",
        )

    def _send(self, kind: Kind, message: Message | None) -> None:
        if self._transport is not None:
            payload = b"" if message is None else message.SerializeToString()
            data = ConnectMessage(kind=int(kind), payload=payload).SerializeToString()  # type: ignore[arg-type]  # the same
            self._transport.send(WSMsgType.BINARY, data)


class Crowd:
    """All of them."""

    def __init__(self, api_url: str, gateway_url: str, session: aiohttp.ClientSession) -> None:
        self.gateway_url = gateway_url
        self.answers = False
        self.members: list[Member] = []
        self._start_url = f"{api_url}/v0/connect/start"
        self._session = session

    async def ask_for_start(self) -> StartResponse:
        async with self._session.post(self._start_url, data=b"") as answer:
            answer.raise_for_status()
            return StartResponse.FromString(await answer.read())

    async def connect(self) -> list[float]:
        """Connect all at once; the milliseconds until each was active."""
        began_s = time.monotonic()
        took_ms: list[float] = []

        async def one(member: Member) -> None:
            await member.connect()
            took_ms.append((time.monotonic() - began_s) * 1_000)

        async with asyncio.timeout(ACTIVE_S), asyncio.TaskGroup() as tasks:
            for member in self.members:
                tasks.create_task(one(member))
        return took_ms

    async def obey(self, order: str) -> dict[str, Any]:
        """Carry out one order."""
        match order:
            case "cut":
                for member in self.members:
                    member.abort()
                return {"took_ms": await self.connect()}
            case "answer":
                self.answers = True
                for member in self.members:
                    member.answer()
                return {}
            case "count":
                return {"held": sum(len(member.held) for member in self.members)}
        raise ValueError(f"no such order: {order}")

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for member in self.members:
                member.beat()


async def run(api_url: str, gateway_url: str, name: str, count: int) -> None:
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        crowd = Crowd(api_url, gateway_url, session)
        crowd.members += [Member(crowd, f"{name}-{number}") for number in range(count)]
        say({"took_ms": await crowd.connect()})
        beats = asyncio.create_task(crowd.beat())
        while line := await orders.readline():
            say(await crowd.obey(line.decode().strip()))
        beats.cancel()


def say(fact: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(fact).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _, _api_url, _gateway_url, _name, _count = sys.argv
    asyncio.run(run(_api_url, _gateway_url, _name, int(_count)))
