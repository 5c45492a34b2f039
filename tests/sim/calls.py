"""A call as it leaves the server, read from its bytes as a worker reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.wire.calls import decode_call
from stepwell.wire.connect import GatewayExecutorRequestData
from stepwell.wire.ids import RequestId, RunId, parse_ulid
from tests.sim.programs import CAUGHT

if TYPE_CHECKING:
    from collections.abc import Mapping


class SentCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker knows of a call. `memo` is None if it has to fetch the finished steps."""

    connection_id: str
    request_id: RequestId
    lease_id: bytes
    slug: str
    run_id: RunId
    step_id: str
    attempt: int
    max_attempts: int | None
    stack: tuple[str, ...]
    plan_only: bool
    memo: dict[str, Any] | None


def read_call(made: tuple[str, bytes], connection_id: str) -> SentCall:
    """Read the message that a port sends."""
    request_id, payload = made
    message = GatewayExecutorRequestData.FromString(payload)
    assert message.request_id == request_id, "8: a call is of one fence"
    call = decode_call(message.request_payload)
    return SentCall(
        connection_id=connection_id,
        request_id=RequestId(parse_ulid(request_id)),
        lease_id=parse_ulid(message.lease_id),
        slug=message.function_slug,
        run_id=RunId(parse_ulid(message.run_id)),
        step_id=message.step_id,
        attempt=call.ctx.attempt,
        max_attempts=call.ctx.max_attempts,
        stack=call.ctx.stack,
        plan_only=call.ctx.disable_immediate_execution,
        memo=None if call.ctx.use_api else read_memo(call.steps),
    )


def read_memo(steps: Mapping[str, bytes]) -> dict[str, Any]:
    """The finished steps as a program sees them. A bare value is of the older spelling."""
    return {step_id: _value(msgspec.json.decode(memo)) for step_id, memo in steps.items()}


def _value(memo: Any) -> Any:
    if not isinstance(memo, dict):
        return memo
    return CAUGHT if "error" in memo else memo["data"]
