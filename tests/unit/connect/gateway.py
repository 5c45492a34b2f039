"""A server that a worker can connect to, played by the test: it says what the test tells it to."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from stepwell.wire.connect import (
    SUBPROTOCOL,
    ConnectMessage,
    FlushResponse,
    GatewayCheckpointAckData,
    GatewayConnectionReadyData,
    GatewayExecutorRequestData,
    Kind,
    SDKResponse,
    StartRequest,
    StartResponse,
    WorkerCheckpointData,
    WorkerConnectRequestData,
    WorkerReplyAckData,
    WorkerRequestAckData,
    WorkerRequestExtendLeaseAckData,
    WorkerRequestExtendLeaseData,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from google.protobuf.message import Message

WAIT_S = 5.0
GROUP = "gw-test"


class Peer:
    """One socket of the worker, from the gateway's side."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self.hello = WorkerConnectRequestData()

    async def send(self, kind: int, message: Message | None = None) -> None:
        payload = b"" if message is None else message.SerializeToString()
        envelope = ConnectMessage(kind=kind, payload=payload)  # type: ignore[arg-type]
        await self._socket.send(envelope.SerializeToString())

    async def send_raw(self, data: bytes | str) -> None:
        await self._socket.send(data)

    async def receive(self) -> tuple[Kind, bytes]:
        """The next message that is not a heartbeat."""
        async with asyncio.timeout(WAIT_S):
            while (received := await self.receive_any())[0] is Kind.WORKER_HEARTBEAT:
                continue
            return received

    async def receive_any(self) -> tuple[Kind, bytes]:
        """The next message."""
        async with asyncio.timeout(WAIT_S):
            data = await self._socket.recv()
        assert isinstance(data, bytes)
        message = ConnectMessage.FromString(data)
        return Kind(message.kind), message.payload

    async def rest(self) -> AsyncIterator[tuple[Kind, bytes]]:
        """All that comes before the end of the socket."""
        with suppress(ConnectionClosed):
            while True:
                yield await self.receive_any()

    async def expect(self, kind: Kind) -> bytes:
        received, payload = await self.receive()
        assert received is kind, f"{received.name} came, not {kind.name}"
        return payload

    async def expect_past_extensions(self, kind: Kind) -> bytes:
        """The next message that is not a lease extension; those come as time goes by."""
        while (received := await self.receive())[0] is Kind.WORKER_REQUEST_EXTEND_LEASE:
            continue
        assert received[0] is kind, f"{received[0].name} came, not {kind.name}"
        return received[1]

    async def expect_heartbeat(self) -> None:
        async with asyncio.timeout(WAIT_S):
            data = await self._socket.recv()
        assert data == b"\x08\x09"

    async def expect_ack(self) -> WorkerRequestAckData:
        return WorkerRequestAckData.FromString(await self.expect(Kind.WORKER_REQUEST_ACK))

    async def expect_reply(self) -> SDKResponse:
        return SDKResponse.FromString(await self.expect(Kind.WORKER_REPLY))

    async def expect_checkpoint(self) -> WorkerCheckpointData:
        payload = await self.expect_past_extensions(Kind.WORKER_CHECKPOINT)
        return WorkerCheckpointData.FromString(payload)

    async def answer_checkpoint(self, checkpoint: WorkerCheckpointData, refusal: str = "") -> None:
        await self.send(
            Kind.GATEWAY_CHECKPOINT_ACK,
            GatewayCheckpointAckData(
                request_id=checkpoint.request_id, seq=checkpoint.seq, refusal=refusal
            ),
        )

    async def expect_extension(self) -> WorkerRequestExtendLeaseData:
        payload = await self.expect(Kind.WORKER_REQUEST_EXTEND_LEASE)
        return WorkerRequestExtendLeaseData.FromString(payload)

    async def greet(self) -> None:
        """HELLO, and WORKER_CONNECT."""
        await self.send(Kind.GATEWAY_HELLO)
        payload = await self.expect(Kind.WORKER_CONNECT)
        self.hello = WorkerConnectRequestData.FromString(payload)

    async def handshake(
        self, *, heartbeat: str = "10s", extend: str = "5s", extensions: Sequence[str] = ()
    ) -> None:
        await self.greet()
        await self.send(
            Kind.GATEWAY_CONNECTION_READY,
            GatewayConnectionReadyData(
                heartbeat_interval=heartbeat,
                extend_lease_interval=extend,
                status_interval="0s",
                extensions=extensions,
            ),
        )

    async def call(self, request_id: str = "req-1", **fields: Any) -> None:
        await self.send(Kind.GATEWAY_EXECUTOR_REQUEST, request(request_id, **fields))

    async def ack_reply(self, request_id: str) -> None:
        await self.send(Kind.WORKER_REPLY_ACK, WorkerReplyAckData(request_id=request_id))

    async def answer_extension(self, request_id: str, lease_id: str | None) -> None:
        ack = WorkerRequestExtendLeaseAckData(request_id=request_id)
        if lease_id is not None:
            ack.new_lease_id = lease_id
        await self.send(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, ack)

    async def close(self, code: int = 1001, reason: str = "connect_gateway_closing") -> None:
        await self._socket.close(code, reason)

    def cut(self) -> None:
        """End TCP without a word."""
        self._socket.transport.abort()

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the worker's close frame, whatever comes before it."""
        async with asyncio.timeout(WAIT_S):
            with suppress(ConnectionClosed):
                while True:
                    await self._socket.recv()
        frame = self._socket.protocol.close_rcvd
        assert frame is not None, "the worker ended TCP without a close frame"
        return frame.code, frame.reason


class Gateway:
    """The API and the gateway, on ports of their own.

    Attributes:
        starts: The start requests, with their headers.
        asked: Set by the first of them.
        start_statuses: What start requests are answered with, in turn; then 200.
        state: What `GET /v0/runs/...` answers, by the end of the path.
        checkpoint_statuses: What reports over HTTP are answered with, in turn; then 200.
    """

    def __init__(self) -> None:
        self.starts: list[tuple[StartRequest, dict[str, str]]] = []
        self.asked = asyncio.Event()
        self.start_statuses: list[int] = []
        self.flush_statuses: list[int] = []
        self.flushed: asyncio.Queue[SDKResponse] = asyncio.Queue()
        self.state: dict[str, Any] = {}
        self.checkpoints: list[dict[str, Any]] = []
        self.checkpoint_statuses: list[int] = []
        self.state_requests: list[tuple[str, str]] = []
        self.api_url = ""
        self.gateway_url = ""
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v0/connect/start", self._start)
        app.router.add_post("/v0/connect/flush", self._flush)
        app.router.add_post("/v1/checkpoint/{run_id}/async", self._checkpoint)
        app.router.add_get("/v0/runs/{run_id}/{what}", self._state)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.api_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        sockets = await self._stack.enter_async_context(
            serve(
                self._connected,
                "127.0.0.1",
                0,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                max_size=2**24,
                close_timeout=0.2,
                max_queue=2,  # a test that does not read stops the worker soon
            )
        )
        port = next(iter(sockets.sockets)).getsockname()[1]
        self.gateway_url = f"ws://127.0.0.1:{port}/v0/connect"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def accept(self) -> Peer:
        """The next socket that the worker opens."""
        async with asyncio.timeout(WAIT_S):
            return await self._peers.get()

    async def flushed_reply(self) -> SDKResponse:
        """The next reply that comes over HTTP."""
        async with asyncio.timeout(WAIT_S):
            return await self.flushed.get()

    async def _start(self, request: web.Request) -> web.Response:
        self.starts.append((StartRequest.FromString(await request.read()), dict(request.headers)))
        self.asked.set()
        status = self.start_statuses.pop(0) if self.start_statuses else 200
        if status != 200:
            return web.Response(status=status, text="Authentication failed")
        answer = StartResponse(
            connection_id=f"connection-{len(self.starts)}",
            gateway_endpoint=self.gateway_url,
            gateway_group=GROUP,
            session_token="session",
            sync_token="sync",
        )
        return web.Response(body=answer.SerializeToString())

    async def _flush(self, request: web.Request) -> web.Response:
        reply = SDKResponse.FromString(await request.read())
        if self.flush_statuses and (status := self.flush_statuses.pop(0)) != 200:
            return web.Response(status=status, text="not now")
        self.flushed.put_nowait(reply)
        return web.Response(body=FlushResponse(request_id=reply.request_id).SerializeToString())

    async def _checkpoint(self, request: web.Request) -> web.Response:
        self.checkpoints.append(await request.json())
        statuses = self.checkpoint_statuses
        return web.Response(status=statuses.pop(0) if statuses else 200)

    async def _state(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/v0/runs/")
        self.state_requests.append((path, request.headers.get("Authorization", "")))
        if path not in self.state:
            return web.json_response({"error": "no such run"}, status=410)
        return web.json_response(self.state[path])

    async def _connected(self, socket: ServerConnection) -> None:
        self._peers.put_nowait(Peer(socket))
        await socket.wait_closed()


def request(
    request_id: str = "req-1",
    *,
    app: str = "shop",
    function: str = "ship",
    step_id: str | None = "step",
    lease_id: str = "lease-1",
    payload: bytes | None = None,
    **call: Any,
) -> GatewayExecutorRequestData:
    """A call, as the gateway sends it."""
    data = GatewayExecutorRequestData(
        request_id=request_id,
        account_id="account",
        env_id="env",
        app_id="app-id",
        app_name=app,
        function_id="function-id",
        function_slug=f"{app}-{function}",
        request_payload=call_body(**call) if payload is None else payload,
        system_trace_ctx=b"{}",
        user_trace_ctx=b'{"traceparent":"00"}',
        run_id="run-1",
        lease_id=lease_id,
        job_id="job-1",
    )
    if step_id is not None:
        data.step_id = step_id
    return data


def call_body(
    *,
    data: dict[str, Any] | None = None,
    steps: dict[str, Any] | None = None,
    attempt: int = 0,
    max_attempts: int = 4,
    plan_only: bool = False,
    use_api: bool = False,
    events: list[Any] | None = None,
    run_id: str = "run-1",
) -> bytes:
    """The JSON of a call."""
    event = {"name": "order/paid", "data": data or {}, "id": "evt", "ts": 1, "user": {}}
    return json.dumps(
        {
            "event": event,
            "events": [event] if events is None else events,
            "steps": steps or {},
            "ctx": {
                "run_id": run_id,
                "fn_id": "function-id",
                "attempt": attempt,
                "max_attempts": max_attempts,
                "stack": {"stack": list(steps or {}), "current": 0},
                "disable_immediate_execution": plan_only,
                "use_api": use_api,
                "env": "",
                "step_id": "step",
                "request_id": "req-1",
                "job_id": "job-1",
                "generation_id": 1,
                "qi_id": "",
            },
            "version": -1,
            "use_api": use_api,
        }
    ).encode()
