"""Makes the requests that steps ask of the server, and reports what came of each.

Each is a job with a lease like a call of a worker, which this holds as long as it is at it: a
server that dies makes the request again. How many there are at a time, the engine decides: here
each one that is ordered begins at once. Source: docs/reference/wire/waits.md.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from stepwell.engine.inputs import RequestReported
from stepwell.engine.request_secrets import joined
from stepwell.engine.rows import HistoryKind, StepKind
from stepwell.errors import OutboundError, StoreError, WireError
from stepwell.server.dispatch.step_request import (
    Came,
    came_fetch,
    came_infer,
    came_to_nothing,
    wanted_fetch,
    wanted_infer,
)
from stepwell.wire.ids import ulid_text
from stepwell.wire.ops import STEP_BYTES_MAX

if TYPE_CHECKING:
    from stepwell.engine.effects import Request
    from stepwell.server.outbound import OutboundClient
    from stepwell.store.interface import Reader
    from stepwell.wire.ids import RequestId

_log = logging.getLogger(__name__)

TIMEOUT_S = 600.0
"""Of one request, until its whole answer is here."""

_FINAL_CODES = frozenset(
    {
        "outbound_url_invalid",
        "outbound_address_refused",
        "outbound_redirect_refused",
        "outbound_too_large",
    }
)


class Engine(Protocol):
    """The runtime, as this needs it."""

    def reader(self) -> Reader: ...
    def requests_go_to(self, requester: StepRequests | None, /) -> None: ...
    def renew_lease(self, request_id: RequestId, /) -> None: ...
    def request_reported(self, report: RequestReported, /) -> None: ...


class StepRequests:
    """Those under way.

    Args:
        renew_s: How often the leases of those under way are renewed.
    """

    def __init__(self, runtime: Engine, client: OutboundClient, *, renew_s: float) -> None:
        self._runtime = runtime
        self._client = client
        self._renew_s = renew_s
        self._tasks: dict[RequestId, asyncio.Task[None]] = {}
        self._reader = runtime.reader()
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> StepRequests:
        self._renewing = asyncio.create_task(self._renew(), name="stepwell-step-leases")
        self._runtime.requests_go_to(self)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Give up what is under way; it is made again by whoever has the data next."""
        self._runtime.requests_go_to(None)
        tasks = [*self._tasks.values(), *([self._renewing] if self._renewing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._reader.close()
        await self._client.close()

    def start(self, request: Request) -> None:
        """Begin; the outcome goes to the runtime."""
        task = asyncio.create_task(self._make(request), name="stepwell-step-request")
        self._tasks[request.request_id] = task
        task.add_done_callback(lambda _task: self._tasks.pop(request.request_id, None))

    def withdraw(self, request_id: RequestId) -> None:
        """The outcome is not wanted any more."""
        task = self._tasks.get(request_id)
        if task is not None:
            task.cancel()

    async def _make(self, request: Request) -> None:
        try:
            report = await self._report(request)
        except StoreError:
            # Its lease ends in time, and it is made again.
            _log.exception("a step's request failed", extra={"run": ulid_text(request.run_id)})
            return
        except Exception:
            # A defect of ours, which must not make the same request for ever.
            _log.exception("a step's request failed", extra={"run": ulid_text(request.run_id)})
            report = _failed(request)
        self._runtime.request_reported(report)

    async def _report(self, request: Request) -> RequestReported:
        row = self._reader.history_row(request.run_id, request.seq)
        assert row is not None, "a request is told in the history before it is ordered"
        infers = row.kind is HistoryKind.INFER_STARTED
        secrets = self._reader.request_secrets(request.run_id, request.seq)
        came = await self._come(joined(row.payload or b"null", secrets), infers=infers)
        return RequestReported(
            request_id=request.request_id,
            name=row.name or "",
            kind=StepKind.INFER if infers else StepKind.FETCH,
            data=came.data,
            error=came.error,
            no_retry=came.no_retry,
        )

    async def _come(self, options: bytes, *, infers: bool) -> Came:
        name = "AIGatewayError" if infers else "GatewayError"
        try:
            wanted = wanted_infer(options) if infers else wanted_fetch(options)
        except WireError as error:
            return came_to_nothing(name, error.message, error.code, no_retry=True)
        try:
            response = await self._client.request(
                wanted.method,
                wanted.url,
                headers=wanted.headers,
                body=wanted.body,
                timeout_s=TIMEOUT_S,
                bytes_max=STEP_BYTES_MAX // 2,  # as JSON text it takes more room
            )
        except OutboundError as error:
            message = wanted.told(error.message)
            return came_to_nothing(name, message, error.code, no_retry=error.code in _FINAL_CODES)
        if infers:
            return came_infer(status=response.status, body=response.body)
        return came_fetch(
            url=response.url,
            status=response.status,
            headers=response.headers,
            body=response.body,
        )

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            for request_id in self._tasks:
                self._runtime.renew_lease(request_id)


def _failed(request: Request) -> RequestReported:
    came = came_to_nothing(
        "Error", "the server failed to make this request", "internal_error", no_retry=False
    )
    return RequestReported(
        request_id=request.request_id,
        name="",
        kind=StepKind.FETCH,
        data=came.data,
        error=came.error,
    )
