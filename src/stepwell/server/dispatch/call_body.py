"""A call's JSON, which is the same however it is carried.

Source: docs/reference/wire/calls.md, "request" and "state that is fetched".
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from stepwell.wire.calls import encode_call, encode_rest
from stepwell.wire.ids import ulid_text

if TYPE_CHECKING:
    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.effects import Dispatch
    from stepwell.server.payloads import RunPayload

REQUEST_BYTES_MAX = 4 * 2**20
"""A call with more JSON than this is sent without its steps; the SDK fetches them."""

run_text = lru_cache(maxsize=8_192)(ulid_text)  # a run has a call for each of its steps


class CallBodies:
    """Writes the JSON of calls. The calls that a run gives out together differ at their beginning
    only, so the rest of the last one is kept."""

    def __init__(self) -> None:
        self._rest_of: object = None
        self._rest = b""

    def encode(
        self,
        call: Dispatch,
        entry: FunctionEntry,
        payload: RunPayload,
        *,
        request_id: str,
        run_id: str,
        job_id: str,
    ) -> bytes:
        """The JSON of a call. One that comes out too large leaves out what the SDK can fetch."""
        use_api = call.use_api
        while True:
            body = encode_call(
                attempt=call.attempt,
                max_attempts=call.max_attempts,
                fn_id=entry.function_id,
                request_id=request_id,
                job_id=job_id,
                generation=call.generation,
                disable_immediate_execution=call.plan_only,
                # SDKs that name their call by nothing else send it back: it tells its fence.
                qi_id=f"{job_id}-{call.generation}",
                rest=self._rest_for(call, payload, run_id, use_api),
            )
            if use_api or len(body) <= REQUEST_BYTES_MAX:
                return body
            use_api = True

    def _rest_for(self, call: Dispatch, payload: RunPayload, run_id: str, use_api: bool) -> bytes:
        # A run's event never changes, nor does a step that is finished.
        rest_of = (call.run_id, call.stack, call.current, call.version, call.defers, use_api)
        if rest_of == self._rest_of:
            return self._rest
        steps = payload.steps
        # A large event goes out once, not twice; the SDK fetches the list as well.
        alone = use_api and 2 * len(payload.event) > REQUEST_BYTES_MAX
        self._rest = encode_rest(
            event=payload.event,
            events=() if alone else (payload.event,),
            steps=() if use_api else [steps[step_id] for step_id in sorted(call.stack)],
            run_id=run_id,
            stack=call.stack,
            current=call.current,
            use_api=use_api,
            version=call.version,
            defers=call.defers,
        )
        self._rest_of = rest_of
        return self._rest
