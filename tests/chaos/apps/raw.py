"""A worker without an SDK, that does with its first call what it is told and nothing else.

`RAW_CALL` says what: `hold` reads it; `ack` acknowledges it; `reply` acknowledges it and answers
`"raw"`; `late` acknowledges it, waits for the gate `late`, then answers. Each act is noted.
"""

import os
import urllib.request

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
)

SERVER = os.environ["INNGEST_DEV"]
CALL = os.environ["RAW_CALL"]


def main() -> None:
    request = urllib.request.Request(f"{SERVER}/v0/connect/start", data=b"", method="POST")
    with urllib.request.urlopen(request) as answer:
        start = StartResponse.FromString(answer.read())
    with connect(start.gateway_endpoint, subprotocols=[SUBPROTOCOL], compression=None) as socket:
        expect(socket, Kind.GATEWAY_HELLO)
        send(socket, Kind.WORKER_CONNECT, hello(start))
        expect(socket, Kind.GATEWAY_CONNECTION_READY)
        call = GatewayExecutorRequestData.FromString(expect(socket, Kind.GATEWAY_EXECUTOR_REQUEST))
        request_id = call.request_id
        stage.ran("raw call", request=request_id, run=call.run_id)
        if CALL != "hold":
            send(socket, Kind.WORKER_REQUEST_ACK, WorkerRequestAckData(request_id=request_id))
            stage.ran("raw ack", request=request_id)
        if CALL == "late":
            stage.gate_sync("late")
        if CALL in ("reply", "late"):
            reply = SDKResponse(
                request_id=request_id, status=Status.DONE, body=b'"raw"', request_version=2
            )
            send(socket, Kind.WORKER_REPLY, reply)
            stage.ran("raw reply", request=request_id)
        if CALL == "late":
            acked = WorkerReplyAckData.FromString(expect(socket, Kind.WORKER_REPLY_ACK))
            stage.ran("raw reply ack", request=acked.request_id)
        stage.gate_sync("never")  # held until the process is killed


def hello(start: StartResponse) -> WorkerConnectRequestData:
    slug = f"{stage.APP}-ship"
    url = f"wss://connect?fnId={slug}&stepId=step"
    function = {
        "id": slug,
        "name": "ship",
        "triggers": [{"event": f"{stage.APP}/ship"}],
        "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "ws", "url": url}}},
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
    )


def send(socket: ClientConnection, kind: Kind, message: Message) -> None:
    envelope = ConnectMessage(kind=int(kind), payload=message.SerializeToString())
    socket.send(envelope.SerializeToString())


def expect(socket: ClientConnection, kind: Kind) -> bytes:
    """The payload of the next message of this kind; others are skipped."""
    while True:
        message = ConnectMessage.FromString(socket.recv())
        if message.kind == kind:
            return message.payload


main()
