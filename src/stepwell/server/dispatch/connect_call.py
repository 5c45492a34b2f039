"""A call as the Connect message that carries it.

`GatewayExecutorRequestData` is joined by hand: what is the same for all calls of a function is
serialised once, and the order of a message's fields is free.
Source: docs/reference/wire/connect.md, "GatewayExecutorRequestData".
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from stepwell.server.dispatch.call_body import CallBodies, run_text
from stepwell.wire.connect import GatewayExecutorRequestData, varint
from stepwell.wire.ids import ACCOUNT_ID, ENVIRONMENT_ID, ulid_text

if TYPE_CHECKING:
    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.effects import Dispatch
    from stepwell.server.payloads import RunPayload

_STEP_ID, _PAYLOAD, _JOB_ID = (bytes([number << 3 | 2]) for number in (8, 9, 14))
# A ULID has 26 characters.
_REQUEST_ID, _RUN_ID, _LEASE_ID = (bytes([number << 3 | 2, 26]) for number in (1, 12, 13))


class ConnectCalls:
    """Serialises calls; remembers the fixed part of each function."""

    def __init__(self) -> None:
        self._bodies = CallBodies()
        self._fixed: dict[int, tuple[FunctionEntry, bytes]] = {}

    def encode(
        self, call: Dispatch, entry: FunctionEntry, payload: RunPayload
    ) -> tuple[str, bytes]:
        """The request id as text, and the serialised message."""
        request_id = ulid_text(call.request_id)
        run_id = run_text(call.run_id)
        job_id = f"{run_id}-{call.job_no}"
        body = self._bodies.encode(
            call, entry, payload, request_id=request_id, run_id=run_id, job_id=job_id
        )
        step_id = call.step_id.encode()
        # A lease's id ends as the request's does.
        lease_text = f"{_time_text(call.lease_until_ms)}{request_id[10:]}"
        parts = (
            self._fixed_part(entry),
            _REQUEST_ID, request_id.encode(),
            _STEP_ID, varint(len(step_id)), step_id,
            _PAYLOAD, varint(len(body)), body,
            _RUN_ID, run_id.encode(),
            _LEASE_ID, lease_text.encode(),
            _JOB_ID, varint(len(job_id)), job_id.encode(),
        )  # fmt: skip
        return request_id, b"".join(parts)

    def _fixed_part(self, entry: FunctionEntry) -> bytes:
        known = self._fixed.get(entry.no)
        if known is not None and known[0] is entry:
            return known[1]
        fixed = GatewayExecutorRequestData(
            account_id=ACCOUNT_ID,
            env_id=ENVIRONMENT_ID,
            app_id=entry.app_id,
            app_name=entry.app_name,
            function_id=entry.function_id,
            function_slug=entry.slug,
            system_trace_ctx=b"{}",
            user_trace_ctx=b"{}",
        ).SerializeToString()
        self._fixed[entry.no] = (entry, fixed)
        return fixed


@lru_cache(maxsize=64)
def _time_text(ms: int) -> str:
    return ulid_text(ms.to_bytes(6, "big") + bytes(10))[:10]
