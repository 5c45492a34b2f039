"""`GET /v0/runs/{id}/actions` and `/batch`: what an SDK fetches when a call says `use_api`.

A call whose steps or events are too large to send tells the SDK to ask here. `DELETE
/v0/runs/{id}` cancels a run.
Source: docs/reference/http-api.md, "Run state".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.cancelling import Cancelled, cancel_run
from stepwell.server.api.responses import json_response, raw
from stepwell.server.lifecycle import event_body
from stepwell.server.payloads import memo

if TYPE_CHECKING:
    from starlette.requests import Request

    from stepwell.server.api.context import Context
    from stepwell.store.interface import RunRecord


class RunState:
    """Events and memoised steps of runs that are not over."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route("/v0/runs/{run_id}/actions", self.actions),
            Route("/v0/runs/{run_id}/batch", self.batch),
            Route("/v0/runs/{run_id}", self.cancel, methods=["DELETE"]),
        ]

    async def cancel(self, request: Request) -> Response:
        """Cancel a run; once more is no error.

        Raises:
            WireError: 404 for a run that ended in another way, or never was.
        """
        run_id = queries.run_id(request.path_params["run_id"])
        if await cancel_run(self._context, run_id) is Cancelled.ENDED:
            raise WireError("Run not found: it has ended", code="not_found", status=404)
        return Response(status_code=204)

    async def actions(self, request: Request) -> Response:
        """The finished steps by their wire id, each as the call would carry it."""
        run = self._live(request)
        steps = self._context.reader.steps(run.run_id)
        return json_response({step.step_id: raw(memo(step.kind, step.data)) for step in steps})

    async def batch(self, request: Request) -> Response:
        """The events that started the run, in a list."""
        run = self._live(request)
        reader = self._context.reader
        event = reader.event(run.event_id)
        assert event is not None, "a run's event is stored with the run"
        return json_response([raw(event_body(event, reader, self._context.runtime.catalog))])

    def _live(self, request: Request) -> RunRecord:
        text = request.path_params["run_id"]
        run = self._context.reader.run(queries.run_id(text))
        if run is None or run.status.is_over:
            raise WireError(
                f"runtime state is no longer available for runID: {text}",
                code="run_state_gone",
                status=410,
            )
        return run
