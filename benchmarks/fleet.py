"""Many connected workers in this process, as cheap as they can be: no SDK, and steps that wait.

They speak the Connect protocol as a real worker does (hello, acknowledgements, lease extensions at
the advertised interval), but unless told otherwise they send a heartbeat each second, so that a
short time shows its tail.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import picows

from stepwell.wire.connect import (
    SUBPROTOCOL,
    AppConfiguration,
    AuthData,
    ConnectMessage,
    GatewayConnectionReadyData,
    GatewayExecutorRequestData,
    Kind,
    SDKResponse,
    StartResponse,
    Status,
    WorkerConnectRequestData,
    WorkerReplyAckData,
    WorkerRequestAckData,
    WorkerRequestExtendLeaseAckData,
    WorkerRequestExtendLeaseData,
)
from stepwell.wire.durations import parse_duration_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.message import Message

APP = "fleet"
EVENT = "bench/fleet"
HEARTBEAT_S = 1.0
READY_WAIT_S = 60.0
DIALS = 20
"""At a time: a fleet that comes back is another benchmark's."""

_FUNCTION = f"{APP}-chain"


class Work(msgspec.Struct, frozen=True):
    """The data of an event: what its run does.

    Attributes:
        step_ms: How long the body of each step takes.
        long_step: The number of the one that takes `long_ms`; -1: none.
    """

    steps: int
    step_ms: int
    long_step: int
    long_ms: int

    def duration_s(self, step: int) -> float:
        """How long the call takes whose turn it is to run a step, or to return after all."""
        if step >= self.steps:
            return 0.0
        return (self.long_ms if step == self.long_step else self.step_ms) / 1000


class Seen(msgspec.Struct, kw_only=True):
    """What the workers of a fleet have seen since the last `Fleet.begin`.

    Attributes:
        steps: Answers with a step's output that the server has acknowledged.
        heartbeats_s, replies_s: From each message to the answer to it.
        extensions: Leases that were extended.
        leases_lost: Those that were not, and work that came a second time.
        sockets_lost: Connections that the server, or the network, has ended.
    """

    heartbeats_s: list[float] = []
    replies_s: list[float] = []
    steps: int = 0
    extensions: int = 0
    leases_lost: int = 0
    sockets_lost: int = 0


class Fleet:
    """Workers of one app with one function, a chain of steps.

    Attributes:
        recent_run_id: Of the latest call.
        ended: Runs of which the server has acknowledged the result, all in all.
    """

    def __init__(self) -> None:
        self.seen = Seen()
        self.recent_run_id = ""
        self.ended = 0
        self.is_leaving = False
        self._calls: set[tuple[str, int]] = set()

    def begin(self) -> Seen:
        """Count anew; returns what is counted from here on."""
        self.seen = Seen()
        return self.seen

    def called(self, run_id: str, step: int) -> None:
        """A call came; it comes once, unless its lease was lost."""
        self.recent_run_id = run_id
        if (run_id, step) in self._calls:
            self.seen.leases_lost += 1
        self._calls.add((run_id, step))


@contextlib.asynccontextmanager
async def fleet(
    api_url: str, size: int, *, first: int = 0, heartbeat_s: float = HEARTBEAT_S
) -> AsyncIterator[Fleet]:
    """So many workers, all ready; their heartbeats are spread evenly over time.

    Args:
        first: The number of the first one, where other processes have some too.
    """
    made = Fleet()
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        numbers = iter(range(first, first + size))
        workers: list[_Worker] = []

        async def dial() -> None:
            for number in numbers:
                worker = await _dialled(http, api_url, made, number, heartbeat_s)
                stack.callback(worker.leave)
                workers.append(worker)

        async with asyncio.timeout(READY_WAIT_S), asyncio.TaskGroup() as dials:
            for _ in range(DIALS):
                dials.create_task(dial())
        for place, worker in enumerate(workers):
            worker.beat_after(heartbeat_s * place / size)
        try:
            yield made
        finally:
            made.is_leaving = True


async def _dialled(
    http: aiohttp.ClientSession, api_url: str, made: Fleet, number: int, heartbeat_s: float
) -> _Worker:
    """One more worker, ready for calls."""
    async with http.post(f"{api_url}/v0/connect/start", data=b"") as answer:
        start = StartResponse.FromString(await answer.read())
    _transport, worker = await picows.ws_connect(
        lambda: _Worker(made, _hello(start, number), heartbeat_s),
        start.gateway_endpoint,
        extra_headers={"Sec-WebSocket-Protocol": SUBPROTOCOL},
    )
    assert isinstance(worker, _Worker), "the factory makes it"
    await worker.ready
    return worker


def _hello(start: StartResponse, number: int) -> bytes:
    url = f"wss://connect?fnId={_FUNCTION}&stepId=step"
    function = {
        "id": _FUNCTION,
        "name": "chain",
        "triggers": [{"event": EVENT}],
        "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "ws", "url": url}}},
    }
    return _envelope(
        Kind.WORKER_CONNECT,
        WorkerConnectRequestData(
            connection_id=start.connection_id,
            instance_id=f"worker-{number}",
            auth_data=AuthData(session_token=start.session_token, sync_token=start.sync_token),
            capabilities=b'{"connect":"v1"}',
            apps=[AppConfiguration(app_name=APP, functions=msgspec.json.encode([function]))],
            framework="connect",
            sdk_version="0.0.0",
            sdk_language="py",
        ),
    )


class _Call(msgspec.Struct):
    """What is read of the request of a call."""

    class Event(msgspec.Struct):
        data: Work

    event: Event
    steps: dict[str, msgspec.Raw]


class _Held(msgspec.Struct):
    """A call whose step is at work."""

    request: GatewayExecutorRequestData
    lease_id: str
    extend: asyncio.TimerHandle | None = None


_read_call = msgspec.json.Decoder(_Call).decode


class _Worker(picows.WSListener):
    def __init__(self, fleet: Fleet, hello: bytes, heartbeat_s: float) -> None:
        super().__init__()
        self._fleet = fleet
        self._hello = hello
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._extend_s = 0.0
        self._beat: asyncio.TimerHandle | None = None
        self._beat_sent_s = 0.0
        self._held: dict[str, _Held] = {}
        self._replied: dict[str, tuple[float, bool]] = {}  # when, and whether it was the result

    # --- heartbeats ---

    def beat_after(self, seconds: float) -> None:
        """Send a heartbeat after a while, then one an interval, unless one is unanswered."""
        self._beat = self._loop.call_later(seconds, self._send_beat)

    def leave(self) -> None:
        """End TCP, as a process does that is killed."""
        self._rest()
        self._transport.disconnect()

    def _rest(self) -> None:
        timers = [self._beat, *(held.extend for held in self._held.values())]
        for timer in timers:
            if timer is not None:
                timer.cancel()

    def _send_beat(self) -> None:
        if not self._beat_sent_s:
            self._beat_sent_s = time.perf_counter()
            self._transport.send(picows.WSMsgType.BINARY, _HEARTBEAT)
        self.beat_after(self._heartbeat_s)

    # --- what picows calls ---

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("the gateway refused a worker"))
        if not self._fleet.is_leaving:
            self._fleet.seen.sockets_lost += 1
        self._rest()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type != picows.WSMsgType.BINARY:
            return
        message = ConnectMessage.FromString(frame.get_payload_as_bytes())
        match int(message.kind):
            case Kind.GATEWAY_EXECUTOR_REQUEST:
                self._on_call(GatewayExecutorRequestData.FromString(message.payload))
            case Kind.WORKER_REPLY_ACK:
                self._on_reply_ack(WorkerReplyAckData.FromString(message.payload).request_id)
            case Kind.GATEWAY_HEARTBEAT:
                self._fleet.seen.heartbeats_s.append(time.perf_counter() - self._beat_sent_s)
                self._beat_sent_s = 0.0
            case Kind.WORKER_REQUEST_EXTEND_LEASE_ACK:
                self._on_extended(WorkerRequestExtendLeaseAckData.FromString(message.payload))
            case Kind.GATEWAY_HELLO:
                transport.send(picows.WSMsgType.BINARY, self._hello)
            case Kind.GATEWAY_CONNECTION_READY:
                intervals = GatewayConnectionReadyData.FromString(message.payload)
                self._extend_s = parse_duration_ms(intervals.extend_lease_interval) / 1000
                self.ready.set_result(None)

    # --- calls ---

    def _on_call(self, request: GatewayExecutorRequestData) -> None:
        self._send(Kind.WORKER_REQUEST_ACK, WorkerRequestAckData(request_id=request.request_id))
        call = _read_call(request.request_payload)
        step = len(call.steps)
        self._fleet.called(request.run_id, step)
        held = self._held[request.request_id] = _Held(request, request.lease_id)
        self._extend_later(held)
        work = call.event.data
        is_last = step == work.steps
        self._loop.call_later(work.duration_s(step), self._reply, held, step, is_last)

    def _extend_later(self, held: _Held) -> None:
        held.extend = self._loop.call_later(self._extend_s, self._extend, held)

    def _extend(self, held: _Held) -> None:
        request = held.request
        self._send(
            Kind.WORKER_REQUEST_EXTEND_LEASE,
            WorkerRequestExtendLeaseData(
                request_id=request.request_id, run_id=request.run_id, lease_id=held.lease_id
            ),
        )

    def _on_extended(self, answer: WorkerRequestExtendLeaseAckData) -> None:
        held = self._held.get(answer.request_id)
        if held is None:
            return  # its step has ended meanwhile
        if answer.HasField("new_lease_id"):
            self._fleet.seen.extensions += 1
            held.lease_id = answer.new_lease_id
            self._extend_later(held)
        else:
            self._fleet.seen.leases_lost += 1

    def _reply(self, held: _Held, step: int, is_last: bool) -> None:
        request_id = held.request.request_id
        del self._held[request_id]
        if held.extend is not None:
            held.extend.cancel()
        self._replied[request_id] = (time.perf_counter(), is_last)
        self._send(
            Kind.WORKER_REPLY,
            SDKResponse(
                request_id=request_id,
                status=Status.DONE if is_last else Status.NOT_COMPLETED,  # type: ignore[arg-type]
                body=b"null" if is_last else _OUTPUT % (step, step),
                request_version=2,
            ),
        )

    def _on_reply_ack(self, request_id: str) -> None:
        sent_s, is_last = self._replied.pop(request_id)
        self._fleet.seen.replies_s.append(time.perf_counter() - sent_s)
        if is_last:
            self._fleet.ended += 1
        else:
            self._fleet.seen.steps += 1

    def _send(self, kind: Kind, message: Message) -> None:
        self._transport.send(picows.WSMsgType.BINARY, _envelope(kind, message))


_OUTPUT = (
    b'[{"op":"StepRun","id":"%040x","name":"step-%d","data":"a result of 20 bytes",'
    b'"opts":{"type":"step.run"}}]'
)
"""Step ids are 40 hexadecimal digits."""


def _envelope(kind: Kind, message: Message | None = None) -> bytes:
    payload = b"" if message is None else message.SerializeToString()
    envelope = ConnectMessage(kind=int(kind), payload=payload)  # type: ignore[arg-type]
    return envelope.SerializeToString()


_HEARTBEAT = _envelope(Kind.WORKER_HEARTBEAT)
