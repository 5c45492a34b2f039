"""A worker without an SDK that answers its calls when their round is opened, and asks nobody.

It extends its leases as it should, but does not listen to the answers: when it has stood still for
too long, its replies come all the same. Each call, reply and acknowledgement is noted.
"""

import os
import time
import urllib.request
import uuid
from pathlib import Path

import msgspec
import stage
from google.protobuf.message import Message
from websockets.sync.client import ClientConnection, connect

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
    WorkerRequestExtendLeaseAckData,
    WorkerRequestExtendLeaseData,
)

SERVER = os.environ["INNGEST_DEV"]
DIRECTORY = Path(os.environ["STAGE_DIRECTORY"])
TICK_S = 0.05
EXTEND_S = 0.5
HEARTBEAT_S = 5.0


class Held:
    """A call that was taken and is not answered."""

    def __init__(self, request: GatewayExecutorRequestData) -> None:
        self.request_id = request.request_id
        self.lease_id = request.lease_id
        self.result = uuid.uuid4().hex
        event = msgspec.json.decode(request.request_payload)["event"]
        self.round = str(event["data"]["round"])


class Worker:
    """One connection and the calls that it holds."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._held: dict[str, Held] = {}
        self._extend_at_s = self._heartbeat_at_s = 0.0

    def run(self) -> None:
        while True:
            try:
                message = ConnectMessage.FromString(self._socket.recv(TICK_S))
            except TimeoutError:
                self._tick(time.monotonic())
                continue
            match message.kind:
                case Kind.GATEWAY_EXECUTOR_REQUEST:
                    self._take(GatewayExecutorRequestData.FromString(message.payload))
                case Kind.WORKER_REQUEST_EXTEND_LEASE_ACK:
                    ack = WorkerRequestExtendLeaseAckData.FromString(message.payload)
                    if ack.request_id in self._held and ack.new_lease_id:
                        self._held[ack.request_id].lease_id = ack.new_lease_id
                case Kind.WORKER_REPLY_ACK:
                    acked = WorkerReplyAckData.FromString(message.payload)
                    stage.ran("acked", request=acked.request_id)

    def _take(self, request: GatewayExecutorRequestData) -> None:
        held = self._held[request.request_id] = Held(request)
        send(
            self._socket, Kind.WORKER_REQUEST_ACK, WorkerRequestAckData(request_id=held.request_id)
        )
        stage.ran(
            "begin",
            round=held.round,
            run=request.run_id,
            result=held.result,
            request=held.request_id,
        )

    def _tick(self, now_s: float) -> None:
        opened = {held.round for held in self._held.values()}
        opened = {name for name in opened if (DIRECTORY / f"{name}.open").exists()}
        for held in [held for held in self._held.values() if held.round in opened]:
            del self._held[held.request_id]
            reply = SDKResponse(
                request_id=held.request_id,
                status=Status.DONE,
                body=msgspec.json.encode(held.result),
                request_version=2,
            )
            send(self._socket, Kind.WORKER_REPLY, reply)
            stage.ran("end", result=held.result)
        if now_s >= self._extend_at_s:
            self._extend_at_s = now_s + EXTEND_S
            for held in self._held.values():
                extension = WorkerRequestExtendLeaseData(
                    request_id=held.request_id, lease_id=held.lease_id
                )
                send(self._socket, Kind.WORKER_REQUEST_EXTEND_LEASE, extension)
        if now_s >= self._heartbeat_at_s:
            self._heartbeat_at_s = now_s + HEARTBEAT_S
            send(self._socket, Kind.WORKER_HEARTBEAT, None)


def main() -> None:
    request = urllib.request.Request(f"{SERVER}/v0/connect/start", data=b"", method="POST")
    with urllib.request.urlopen(request) as answer:
        start = StartResponse.FromString(answer.read())
    with connect(start.gateway_endpoint, subprotocols=[SUBPROTOCOL], compression=None) as socket:
        expect(socket, Kind.GATEWAY_HELLO)
        send(socket, Kind.WORKER_CONNECT, hello(start))
        expect(socket, Kind.GATEWAY_CONNECTION_READY)
        Worker(socket).run()


def hello(start: StartResponse) -> WorkerConnectRequestData:
    slug = f"{stage.APP}-held"
    url = f"wss://connect?fnId={slug}&stepId=step"
    function = {
        "id": slug,
        "name": "held",
        "triggers": [{"event": f"{stage.APP}/held"}],
        "steps": {
            "step": {
                "id": "step",
                "name": "step",
                "runtime": {"type": "ws", "url": url},
                "retries": {"attempts": 21},
            }
        },
    }
    return WorkerConnectRequestData(
        connection_id=start.connection_id,
        instance_id=stage.INSTANCE,
        auth_data=AuthData(session_token=start.session_token),
        capabilities=b'{"connect":"v1"}',
        apps=[AppConfiguration(app_name=stage.APP, functions=msgspec.json.encode([function]))],
        framework="connect",
        sdk_version="0.0.0",
        sdk_language="py",
        max_worker_concurrency=int(os.environ["INNGEST_CONNECT_MAX_WORKER_CONCURRENCY"]),
    )


def send(socket: ClientConnection, kind: Kind, message: Message | None) -> None:
    payload = b"" if message is None else message.SerializeToString()
    socket.send(ConnectMessage(kind=int(kind), payload=payload).SerializeToString())


def expect(socket: ClientConnection, kind: Kind) -> None:
    while ConnectMessage.FromString(socket.recv()).kind != kind:
        pass


main()
