"""The Connect messages: field numbers, known bytes, and generated code that is up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.message import DecodeError

from stepwell.wire import connect, connect_pb2

if TYPE_CHECKING:
    from enum import IntEnum

    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
    from google.protobuf.message import Message

SOURCE = Path(__file__).parents[3] / "src"

ACK_FIELDS = {
    "request_id": 1,
    "account_id": 2,
    "env_id": 3,
    "app_id": 4,
    "function_slug": 5,
    "step_id": 6,
    "system_trace_ctx": 7,
    "user_trace_ctx": 8,
    "run_id": 9,
}
FIELDS: dict[type[Message], dict[str, int]] = {
    connect.ConnectMessage: {"kind": 1, "payload": 2},
    connect.WorkerConnectRequestData: {
        "connection_id": 1,
        "instance_id": 2,
        "auth_data": 3,
        "capabilities": 4,
        "apps": 5,
        "worker_manual_readiness_ack": 6,
        "system_attributes": 7,
        "environment": 8,
        "framework": 9,
        "platform": 10,
        "sdk_version": 11,
        "sdk_language": 12,
        "started_at": 13,
        "max_worker_concurrency": 14,
    },
    connect.AuthData: {"session_token": 1, "sync_token": 2},
    connect.AppConfiguration: {"app_name": 1, "app_version": 2, "functions": 4},
    connect.SystemAttributes: {"cpu_cores": 1, "mem_bytes": 2, "os": 3},
    connect.WorkerRequestAckData: ACK_FIELDS,
    connect.WorkerRequestExtendLeaseData: {**ACK_FIELDS, "lease_id": 10},
    connect.SDKResponse: {
        "request_id": 1,
        "account_id": 2,
        "env_id": 3,
        "app_id": 4,
        "status": 5,
        "body": 6,
        "no_retry": 7,
        "retry_after": 8,
        "sdk_version": 9,
        "request_version": 10,
        "system_trace_ctx": 11,
        "user_trace_ctx": 12,
        "run_id": 13,
    },
    connect.WorkerStatusData: {"in_flight_request_ids": 1, "shutdown_requested": 2},
    connect.GatewayConnectionReadyData: {
        "heartbeat_interval": 1,
        "extend_lease_interval": 2,
        "status_interval": 3,
        "extensions": 100,
    },
    connect.GatewayExecutorRequestData: {
        "request_id": 1,
        "account_id": 2,
        "env_id": 3,
        "app_id": 4,
        "app_name": 5,
        "function_id": 6,
        "function_slug": 7,
        "step_id": 8,
        "request_payload": 9,
        "system_trace_ctx": 10,
        "user_trace_ctx": 11,
        "run_id": 12,
        "lease_id": 13,
        "job_id": 14,
    },
    connect.WorkerRequestExtendLeaseAckData: {
        "request_id": 1,
        "account_id": 2,
        "env_id": 3,
        "app_id": 4,
        "function_slug": 5,
        "new_lease_id": 6,
    },
    connect.WorkerReplyAckData: {"request_id": 1},
    connect.SystemError: {"code": 1, "data": 2, "message": 3},
    connect.StartRequest: {"exclude_gateways": 1},
    connect.StartResponse: {
        "connection_id": 1,
        "gateway_endpoint": 2,
        "gateway_group": 3,
        "session_token": 4,
        "sync_token": 5,
    },
    connect.FlushResponse: {"request_id": 1},
    connect.WorkerCheckpointData: {"request_id": 1, "run_id": 2, "seq": 3, "steps": 4},
    connect.GatewayCheckpointAckData: {"request_id": 1, "seq": 2, "refusal": 3},
}
OPTIONAL = {
    (connect.WorkerConnectRequestData, "environment"),
    (connect.WorkerConnectRequestData, "platform"),
    (connect.WorkerConnectRequestData, "max_worker_concurrency"),
    (connect.AppConfiguration, "app_version"),
    (connect.WorkerRequestAckData, "step_id"),
    (connect.WorkerRequestExtendLeaseData, "step_id"),
    (connect.SDKResponse, "retry_after"),
    (connect.GatewayExecutorRequestData, "step_id"),
    (connect.WorkerRequestExtendLeaseAckData, "new_lease_id"),
    (connect.SystemError, "data"),
}


@pytest.mark.parametrize("message", FIELDS, ids=lambda message: message.DESCRIPTOR.name)
def test_field_numbers(message: type[Message]) -> None:
    fields = message.DESCRIPTOR.fields

    assert {field.name: field.number for field in fields} == FIELDS[message]
    # Messages inside messages always tell whether they are there.
    present = {field.name for field in fields if field.has_presence and not field.message_type}
    assert present == {name for owner, name in OPTIONAL if owner is message}


def test_every_message_is_in_the_table() -> None:
    names = set(connect_pb2.DESCRIPTOR.message_types_by_name)

    assert names == {message.DESCRIPTOR.name for message in FIELDS}


@pytest.mark.parametrize(
    ("ours", "generated"),
    [
        (connect.Kind, connect_pb2.GatewayMessageType),
        (connect.Status, connect_pb2.SDKResponseStatus),
    ],
)
def test_enumerations_are_those_of_the_messages(
    ours: type[IntEnum], generated: EnumTypeWrapper
) -> None:
    assert {member.name: member.value for member in ours} == dict(generated.items())


def test_file_and_package_names_are_our_own() -> None:
    assert connect_pb2.DESCRIPTOR.package == "stepwell.connect.v1"
    assert connect_pb2.DESCRIPTOR.name == "stepwell/wire/connect.proto"


def envelope(kind: connect.Kind, payload: bytes = b"") -> bytes:
    message = connect.ConnectMessage(payload=payload)
    message.kind = kind  # type: ignore[assignment]  # the stub knows only generated values
    return message.SerializeToString()


def test_known_bytes() -> None:
    ready = connect.GatewayConnectionReadyData(
        heartbeat_interval="10s", extend_lease_interval="30s", status_interval="0s"
    )

    assert envelope(connect.Kind.GATEWAY_HELLO) == b""
    assert envelope(connect.Kind.WORKER_HEARTBEAT) == bytes.fromhex("0809")
    assert envelope(connect.Kind.GATEWAY_HEARTBEAT) == bytes.fromhex("080a")
    assert envelope(
        connect.Kind.GATEWAY_CONNECTION_READY, ready.SerializeToString()
    ) == bytes.fromhex("0802120e0a0331307312033330731a023073")


def test_a_reply_with_steps_has_no_status_on_the_wire() -> None:
    reply = connect.SDKResponse(body=b"[]")

    assert reply.SerializeToString() == b"\x32\x02[]"
    assert int(reply.status) == connect.Status.NOT_COMPLETED


def test_presence_is_told_apart_from_emptiness() -> None:
    ack = connect.WorkerRequestAckData.FromString(b"\x32\x00")

    assert ack.HasField("step_id")
    assert not connect.WorkerRequestAckData.FromString(b"").HasField("step_id")


def test_fields_that_nobody_reads_are_skipped() -> None:
    # Number 5 of an app carries usage figures of some SDKs.
    app = connect.AppConfiguration.FromString(b"\x0a\x04shop\x2a\x02\x08\x01\x9a\x06\x01x")

    assert app.app_name == "shop"


def test_a_kind_or_status_that_is_not_known_is_a_number() -> None:
    assert connect.ConnectMessage.FromString(b"\x08\x63").kind == 99
    assert connect.SDKResponse.FromString(b"\x28\x07").status == 7


@pytest.mark.parametrize("raw", [b"\xff", b"\x12\x05x", b"\x0a\x02\xff\xff", b"\x08"])
def test_garbage_is_a_decode_error(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        connect.SDKResponse.FromString(raw)


def test_generated_code_is_what_the_compiler_makes_of_the_source(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(SOURCE)]
    outputs = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, *outputs, "stepwell/wire/connect.proto"], check=True, timeout=15)

    for name in ("connect_pb2.py", "connect_pb2.pyi"):
        fresh = (tmp_path / "stepwell" / "wire" / name).read_text(encoding="utf-8")
        kept = (SOURCE / "stepwell" / "wire" / name).read_text(encoding="utf-8")
        assert kept == fresh, f"{name}: run the command at the top of connect.proto"
