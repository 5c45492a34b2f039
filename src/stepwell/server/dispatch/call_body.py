"""A call's JSON, which is the same however it is carried.

Source: docs/reference/wire/calls.md, "request" and "state that is fetched".
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from stepwell.wire.calls import encode_call
from stepwell.wire.ids import ulid_text

if TYPE_CHECKING:
    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.effects import Dispatch
    from stepwell.server.payloads import RunPayload

REQUEST_BYTES_MAX = 4 * 2**20
"""A call with more JSON than this is sent without its steps; the SDK fetches them."""

run_text = lru_cache(maxsize=8_192)(ulid_text)  # a run has a call for each of its steps


def call_body(
    call: Dispatch,
    entry: FunctionEntry,
    payload: RunPayload,
    *,
    request_id: str,
    run_id: str,
    job_id: str,
) -> bytes:
    """The JSON of a call. One that comes out too large leaves out what the SDK can fetch."""
    body = _encode(call, entry, payload, request_id, run_id, job_id, call.use_api)
    if len(body) > REQUEST_BYTES_MAX:
        body = _encode(call, entry, payload, request_id, run_id, job_id, True)
    return body


def _encode(
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
        defers=call.defers,
        qi_id=job_id,
    )
