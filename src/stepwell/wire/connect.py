"""The messages of Connect under the names that the rest of the code uses.

The classes are generated from `connect.proto`; the two enumerations are given as `IntEnum`, so
that values compare, print and type-check like any other. A peer may send a number that neither
of them knows: read `message.kind` and `message.status` as plain integers.
Source: docs/reference/wire/connect.md, "messages".
"""

from __future__ import annotations

from enum import IntEnum

from stepwell.wire.connect_pb2 import (
    AppConfiguration,
    AuthData,
    ConnectMessage,
    FlushResponse,
    GatewayCheckpointAckData,
    GatewayConnectionReadyData,
    GatewayExecutorRequestData,
    SDKResponse,
    StartRequest,
    StartResponse,
    SystemAttributes,
    SystemError,
    WorkerCheckpointData,
    WorkerConnectRequestData,
    WorkerReplyAckData,
    WorkerRequestAckData,
    WorkerRequestExtendLeaseAckData,
    WorkerRequestExtendLeaseData,
    WorkerStatusData,
)

__all__ = [
    "CHECKPOINTS",
    "REPLY_IS_ACK",
    "STEPWELL_CAPABILITY",
    "SUBPROTOCOL",
    "AppConfiguration",
    "AuthData",
    "ConnectMessage",
    "FlushResponse",
    "GatewayCheckpointAckData",
    "GatewayConnectionReadyData",
    "GatewayExecutorRequestData",
    "Kind",
    "SDKResponse",
    "StartRequest",
    "StartResponse",
    "Status",
    "SystemAttributes",
    "SystemError",
    "WorkerCheckpointData",
    "WorkerConnectRequestData",
    "WorkerReplyAckData",
    "WorkerRequestAckData",
    "WorkerRequestExtendLeaseAckData",
    "WorkerRequestExtendLeaseData",
    "WorkerStatusData",
    "varint",
]

SUBPROTOCOL = "v0.connect.inngest.com"
"""The WebSocket subprotocol that every SDK offers and the gateway selects."""


STEPWELL_CAPABILITY = "stepwell"
"""With the value `v1` among a worker's capabilities: it reads `extensions` of the ready message.
Other servers leave that field out, and other workers get none."""

REPLY_IS_ACK = "reply-is-ack"
"""The extension by which a reply also acknowledges its call, so that a call that is answered at
once need not be acknowledged before."""

CHECKPOINTS = "checkpoints"
"""The extension by which a worker may report the steps of a call while it goes on, with the kinds
from 100."""


class Kind(IntEnum):
    """What the payload of a `ConnectMessage` holds."""

    GATEWAY_HELLO = 0
    WORKER_CONNECT = 1
    GATEWAY_CONNECTION_READY = 2
    GATEWAY_EXECUTOR_REQUEST = 3
    WORKER_READY = 4
    WORKER_REQUEST_ACK = 5
    WORKER_REPLY = 6
    WORKER_REPLY_ACK = 7
    WORKER_PAUSE = 8
    WORKER_HEARTBEAT = 9
    GATEWAY_HEARTBEAT = 10
    GATEWAY_CLOSING = 11
    WORKER_REQUEST_EXTEND_LEASE = 12
    WORKER_REQUEST_EXTEND_LEASE_ACK = 13
    SYNC_FAILED = 14
    WORKER_STATUS = 15
    WORKER_CHECKPOINT = 100
    GATEWAY_CHECKPOINT_ACK = 101


class Status(IntEnum):
    """What an `SDKResponse` says of its call."""

    NOT_COMPLETED = 0
    DONE = 1
    ERROR = 2


def varint(number: int) -> bytes:
    """Write a number as messages have it, for those who join one by hand."""
    if number < 0x80:
        return _ONE_BYTE[number]
    if number < 0x4000:  # most sizes
        return bytes((number & 0x7F | 0x80, number >> 7))
    return bytes((number & 0x7F | 0x80,)) + varint(number >> 7)


_ONE_BYTE = [bytes((number,)) for number in range(0x80)]
