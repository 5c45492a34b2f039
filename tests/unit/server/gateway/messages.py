"""What workers send, built field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.wire.connect import (
    AppConfiguration,
    AuthData,
    ConnectMessage,
    Kind,
    SDKResponse,
    WorkerCheckpointData,
    WorkerConnectRequestData,
    WorkerRequestAckData,
    WorkerRequestExtendLeaseData,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from stepwell.server.runtime import MakeCall

CONNECTION_ID = "01K7T09A4B0000000000000000"
REQUEST_ID = "01K7T0C0000000000000000001"


def envelope(kind: int, message: Message | bytes = b"") -> bytes:
    """One message as it goes over the socket."""
    payload = message if isinstance(message, bytes) else message.SerializeToString()
    return ConnectMessage(kind=kind, payload=payload).SerializeToString()  # type: ignore[arg-type]


def function(slug: str = "shop-ship", **options: Any) -> dict[str, Any]:
    """A function's configuration as SDKs send it."""
    url = f"wss://connect?fnId={slug}&stepId=step"
    return {
        "id": slug,
        "name": slug,
        "triggers": [{"event": "shop/order.paid"}],
        "steps": {
            "step": {"id": "step", "name": "step", "runtime": {"type": "ws", "url": url}},
        },
        **options,
    }


def app(
    name: str = "shop",
    *,
    version: str | None = "v1",
    functions: Sequence[dict[str, Any]] | None = None,
) -> AppConfiguration:
    """An app as a worker announces it."""
    listed = [function(f"{name}-ship")] if functions is None else functions
    announced = AppConfiguration(app_name=name, functions=msgspec.json.encode(listed))
    if version is not None:
        announced.app_version = version
    return announced


def hello(
    *apps: AppConfiguration,
    connection_id: str = CONNECTION_ID,
    instance_id: str = "box-7",
    session_token: str = "good",
    capabilities: bytes = b'{"connect":"v1"}',
    sdk_language: str = "py",
    **fields: Any,
) -> WorkerConnectRequestData:
    """WORKER_CONNECT of a worker with one app, unless other apps are given."""
    return WorkerConnectRequestData(
        connection_id=connection_id,
        instance_id=instance_id,
        auth_data=AuthData(session_token=session_token),
        capabilities=capabilities,
        apps=apps or [app()],
        sdk_language=sdk_language,
        sdk_version="0.5.19",
        framework="connect",
        **fields,
    )


def connect(*apps: AppConfiguration, **fields: Any) -> bytes:
    return envelope(Kind.WORKER_CONNECT, hello(*apps, **fields))


def ack(request_id: str = REQUEST_ID) -> bytes:
    return envelope(Kind.WORKER_REQUEST_ACK, WorkerRequestAckData(request_id=request_id))


def reply(request_id: str = REQUEST_ID, **fields: Any) -> bytes:
    return envelope(Kind.WORKER_REPLY, SDKResponse(request_id=request_id, **fields))


def checkpoint(request_id: str = REQUEST_ID, **fields: Any) -> bytes:
    return envelope(Kind.WORKER_CHECKPOINT, WorkerCheckpointData(request_id=request_id, **fields))


def extend(lease_id: str, request_id: str = REQUEST_ID, **fields: Any) -> bytes:
    return envelope(
        Kind.WORKER_REQUEST_EXTEND_LEASE,
        WorkerRequestExtendLeaseData(request_id=request_id, lease_id=lease_id, **fields),
    )


def made(request_id: str, payload: bytes) -> MakeCall:
    """A call as the runtime hands it to a connection."""
    return lambda: (request_id, payload)


HEARTBEAT = envelope(Kind.WORKER_HEARTBEAT)
READY = envelope(Kind.WORKER_READY)
PAUSE = envelope(Kind.WORKER_PAUSE)
