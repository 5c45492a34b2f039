"""Checkpoints as SDKs send them, of calls that a raw worker got; and what became of the steps."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.wire.connect import Kind
from tests.unit.server.gateway.messages import ack, reply

if TYPE_CHECKING:
    from tests.e2e.api.served import Call, Served, Worker

MIB = 2**20


def step_id(name: str) -> str:
    """The id on the wire of a step that is called `name`."""
    return hashlib.sha1(name.encode()).hexdigest()


def op(kind: str, step: str, **fields: Any) -> dict[str, Any]:
    return {"op": kind, "id": step_id(step), "name": step, "displayName": step} | fields


def done(step: str, value: Any = None, **fields: Any) -> dict[str, Any]:
    """A finished step."""
    return op("StepRun", step, data=value, **fields)


def report(call: Call, *ops: dict[str, Any], **fields: Any) -> bytes:
    """The body of a checkpoint as the official TypeScript SDK sends it; None leaves a field out."""
    ctx = call.ctx
    body = {
        "run_id": ctx["run_id"],
        "fn_id": ctx["fn_id"],
        "qi_id": ctx["qi_id"],
        "request_id": ctx["request_id"],
        "generation_id": ctx["generation_id"],
        "request_started_at": 1_767_225_600_120,
        "ts": 1_767_225_600_544,
        "steps": list(ops),
    } | fields
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


def path_of(call: Call, prefix: str = "/v1/checkpoint") -> str:
    return f"{prefix}/{call.ctx['run_id']}/async"


async def checkpoint(
    served: Served, call: Call, *ops: dict[str, Any], **fields: Any
) -> tuple[int, bytes]:
    """Report steps of a call; status and body of the answer."""
    return await served.request("POST", path_of(call), report(call, *ops, **fields))


async def taken(served: Served, call: Call, *ops: dict[str, Any], **fields: Any) -> None:
    """Report steps that are stored."""
    assert await checkpoint(served, call, *ops, **fields) == (200, b"")


async def refused(
    served: Served, call: Call, *ops: dict[str, Any], **fields: Any
) -> tuple[int, str]:
    """Report steps that are not stored: the status and the error's code."""
    status, body = await checkpoint(served, call, *ops, **fields)
    error = msgspec.json.decode(body)
    assert error["data"] == {"run_id": fields.get("run_id", call.ctx["run_id"])}
    assert error["status"] == status
    assert error["error"]
    return status, error["code"]


async def memos(served: Served, call: Call) -> dict[str, Any]:
    """What is stored of the run's steps, as the next call would have it."""
    found: dict[str, Any] = await served.get(f"/v0/runs/{call.ctx['run_id']}/actions")
    return found


async def answer(worker: Worker, call: Call, *ops: dict[str, Any], **fields: Any) -> None:
    """End a call with operations, a `206`; they are stored on return."""
    body = msgspec.json.encode(list(ops))
    await worker.send(ack(call.id), reply(call.id, body=body, request_version=2, **fields))
    await worker.receive(Kind.WORKER_REPLY_ACK)
