"""A call as the Connect message that carries it.

`GatewayExecutorRequestData` is joined by hand: what is the same for all calls of a function is
serialised once, and the order of a message's fields is free.
Source: docs/reference/wire/connect.md, "GatewayExecutorRequestData".
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from stepwell.wire.calls import encode_call
from stepwell.wire.connect import GatewayExecutorRequestData
from stepwell.wire.ids import ACCOUNT_ID, ENVIRONMENT_ID, ulid_text

if TYPE_CHECKING:
    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.effects import Dispatch
    from stepwell.server.payloads import RunPayload

REQUEST_BYTES_MAX = 4 * 2**20
"""A call with more JSON than this is sent without its steps; the SDK fetches them."""

_REQUEST_ID, _STEP_ID, _PAYLOAD, _RUN_ID, _LEASE_ID, _JOB_ID = (
    bytes([number << 3 | 2]) for number in (1, 8, 9, 12, 13, 14)
)


class ConnectCalls:
    """Serialises calls; remembers the fixed part of each function."""

    def __init__(self) -> None:
        self._fixed: dict[int, tuple[FunctionEntry, bytes]] = {}

    def encode(
        self, call: Dispatch, entry: FunctionEntry, payload: RunPayload, *, lease_id: bytes
    ) -> tuple[str, bytes]:
        """The request id as text, and the serialised message."""
        request_id = ulid_text(call.request_id)
        run_id = _run_text(call.run_id)
        job_id = f"{run_id}-{call.job_no}"
        body = self._body(call, entry, payload, request_id, run_id, job_id, call.use_api)
        if len(body) > REQUEST_BYTES_MAX:
            body = self._body(call, entry, payload, request_id, run_id, job_id, True)
        step_id = call.step_id.encode()
        parts = (
            self._fixed_part(entry),
            _REQUEST_ID, _varint(26), request_id.encode(),
            _STEP_ID, _varint(len(step_id)), step_id,
            _PAYLOAD, _varint(len(body)), body,
            _RUN_ID, _varint(26), run_id.encode(),
            _LEASE_ID, _varint(26), ulid_text(lease_id).encode(),
            _JOB_ID, _varint(len(job_id)), job_id.encode(),
        )  # fmt: skip
        return request_id, b"".join(parts)

    @staticmethod
    def _body(
        call: Dispatch,
        entry: FunctionEntry,
        payload: RunPayload,
        request_id: str,
        run_id: str,
        job_id: str,
        use_api: bool,
    ) -> bytes:
        memos = payload.memos
        steps = () if use_api else [(step_id, memos[step_id]) for step_id in call.stack]
        # A large event goes out once, not twice; the SDK fetches the list as well.
        alone = use_api and 2 * len(payload.event) > REQUEST_BYTES_MAX
        return encode_call(
            event=payload.event,
            events=() if alone else (payload.event,),
            steps=steps,
            attempt=call.attempt,
            max_attempts=call.max_attempts,
            run_id=run_id,
            fn_id=entry.function_id,
            request_id=request_id,
            job_id=job_id,
            generation=call.generation,
            stack=call.stack,
            current=call.current,
            disable_immediate_execution=call.plan_only,
            use_api=use_api,
            version=call.version,
            qi_id=job_id,
        )

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


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _ONE_BYTE[number]
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_run_text = lru_cache(maxsize=8_192)(ulid_text)  # a run has a call for each of its steps
_ONE_BYTE = [bytes([number]) for number in range(0x80)]
