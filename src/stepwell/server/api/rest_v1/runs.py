"""`GET` and `DELETE /v1/runs/{id}`, and the run object of v1.

Source: docs/reference/http-api.md, "REST v1".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from stepwell.engine.rows import RunStatus
from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.cancelling import cancel_run
from stepwell.server.api.responses import iso, raw, v1_data
from stepwell.wire.ids import ENVIRONMENT_ID, ulid_text

if TYPE_CHECKING:
    from starlette.requests import Request

    from stepwell.server.api.context import Context
    from stepwell.server.runtime import Runtime
    from stepwell.store.interface import RunRecord

STATUS_TEXT: Final = {
    RunStatus.SCHEDULED: "Scheduled",
    RunStatus.RUNNING: "Running",
    RunStatus.COMPLETED: "Completed",
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELLED: "Cancelled",
    RunStatus.SKIPPED: "Skipped",
}


class Runs:
    """Stored runs, and their end by request."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [Route("/v1/runs/{run_id}", self.one_or_cancel, methods=["GET", "DELETE"])]

    async def one_or_cancel(self, request: Request) -> Response:
        """By method: two routes of one path would each know but their own."""
        return await (self.cancel if request.method == "DELETE" else self.one)(request)

    async def one(self, request: Request) -> Response:
        run = self._context.reader.run(queries.run_id(request.path_params["run_id"]))
        if run is None:
            raise WireError("Run not found", code="not_found", status=404)
        runtime = self._context.runtime
        return v1_data(run_object(run, runtime), now_ms=runtime.now_ms())

    async def cancel(self, request: Request) -> Response:
        """Cancel a run; one that is over already stays as it is, and that is no error."""
        await cancel_run(self._context, queries.run_id(request.path_params["run_id"]))
        return Response(status_code=200)


def run_object(run: RunRecord, runtime: Runtime) -> dict[str, Any]:
    """A run as v1 shows it; `output` is there once it ended."""
    function = runtime.catalog.by_no(run.function_no)
    shown: dict[str, Any] = {
        "run_id": ulid_text(run.run_id),
        "run_started_at": iso(run.started_at_ms),
        "function_id": function.function_id if function else "",
        "function_version": function.version if function else 0,
        "environment_id": ENVIRONMENT_ID,
        "event_id": ulid_text(run.event_id),
        "status": STATUS_TEXT[run.status],
        "ended_at": iso(run.ended_at_ms),
    }
    if run.output:
        shown["output"] = raw(run.output)
    return shown
