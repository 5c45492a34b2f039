"""A call as the HTTP request that carries it, all but the signature.

Source: docs/reference/wire/http-sdk.md, "Calls over HTTP".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.leases import make_lease_id
from stepwell.server.dispatch.call_body import CallBodies, run_text
from stepwell.wire.app_urls import with_step
from stepwell.wire.http_calls import call_headers
from stepwell.wire.ids import ulid_text

if TYPE_CHECKING:
    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.effects import Dispatch
    from stepwell.server.payloads import RunPayload


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is ready to be signed and sent.

    Attributes:
        lease_id: What the first extension of its lease must name.
    """

    request_id: str
    lease_id: bytes
    url: str
    headers: dict[str, str]
    body: bytes


class HttpCalls:
    """Makes requests of calls."""

    def __init__(self) -> None:
        self._bodies = CallBodies()

    def encode(self, call: Dispatch, entry: FunctionEntry, payload: RunPayload) -> HttpCall:
        """The request for a call."""
        request_id = ulid_text(call.request_id)
        run_id = run_text(call.run_id)
        job_id = f"{run_id}-{call.job_no}"
        return HttpCall(
            request_id=request_id,
            lease_id=make_lease_id(call.request_id, call.lease_until_ms),
            url=with_step(entry.http_url or entry.config.url, call.step_id),
            headers=call_headers(
                run_id=run_id,
                step_id=call.step_id,
                version=call.version,
                request_id=request_id,
                job_id=job_id,
                generation=call.generation,
            ),
            body=self._bodies.encode(
                call, entry, payload, request_id=request_id, run_id=run_id, job_id=job_id
            ),
        )
