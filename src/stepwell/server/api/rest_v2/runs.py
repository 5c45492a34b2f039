"""`GET /v2/runs`, `/v2/runs/{id}`, `/v2/runs/{id}/trace`, and the runs of an event or a function.

Source: docs/reference/http-api.md, "REST v2".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.engine.rows import RunStatus
from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.cancellation import read_cancellation
from stepwell.server.api.functions import matches
from stepwell.server.api.responses import v2_data
from stepwell.server.api.rest_v2.objects import run_object, span_object
from stepwell.server.api.rest_v2.paths import both
from stepwell.server.api.timeline import build_tree
from stepwell.wire.ids import RunId, ulid_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from stepwell.server.api.context import Context
    from stepwell.store.interface import RunRecord

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
EVENT_RUNS_MAX = 40

_STATUSES = {
    "QUEUED": RunStatus.SCHEDULED,
    "RUNNING": RunStatus.RUNNING,
    "COMPLETED": RunStatus.COMPLETED,
    "FAILED": RunStatus.FAILED,
    "CANCELLED": RunStatus.CANCELLED,
    "SKIPPED": RunStatus.SKIPPED,
}


class RunReads:
    """Runs and their traces."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            *both("/runs", self.listing),
            *both("/runs/{run_id}", self.one),
            *both("/runs/{run_id}/trace", self.trace),
            *both("/events/{event_id}/runs", self.of_event),
            *both("/apps/{app}/functions/{function}/runs", self.of_function),
        ]

    async def listing(self, request: Request) -> Response:
        """Runs by the time they were queued, newest first unless `order=asc`."""
        return self._listed(request.query_params, self._function_nos(request.query_params))

    async def of_function(self, request: Request) -> Response:
        """As `listing`, of one function, archived or not."""
        app, name = request.path_params["app"], request.path_params["function"]
        function_nos = [
            entry.no
            for entry in self._context.runtime.catalog.all_functions
            if entry.app_name == app and matches(entry, name)
        ]
        if not function_nos:
            raise WireError("Function not found", code="not_found", status=404)
        return self._listed(request.query_params, function_nos)

    def _listed(self, query: QueryParams, function_nos: Sequence[int] | None) -> Response:
        _refuse_unsupported(query)
        newest_first = _newest_first(query)
        limit = queries.limit(query, default=LIMIT_DEFAULT, most=LIMIT_MAX)
        cursor = queries.cursor(query)
        at = None if cursor is None else RunId(cursor)
        records: Sequence[RunRecord] = ()
        if function_nos is None or function_nos:
            records = self._context.reader.runs(
                before=at if newest_first else None,
                after=None if newest_first else at,
                queued_from_ms=queries.instant_ms(query, "from"),
                queued_until_ms=queries.instant_ms(query, "until"),
                statuses=[_status(text) for text in query.getlist("status")],
                function_nos=function_nos,
                newest_first=newest_first,
                limit=limit + 1,  # one more tells whether there is more
            )
        return self._page(records, limit, with_output=queries.flag(query, "includeOutput"))

    async def one(self, request: Request) -> Response:
        run = self._found(request)
        with_output = queries.flag(request.query_params, "includeOutput")
        shown = run_object(run, self._context, with_output=with_output)
        if run.status is RunStatus.CANCELLED:
            cancellation = read_cancellation(self._context.reader.history(run.run_id))
            if cancellation is not None:
                shown["cancellation"] = cancellation
        return v2_data(shown, now_ms=self._context.runtime.now_ms())

    async def trace(self, request: Request) -> Response:
        """The run as a tree; see `timeline`."""
        run = self._found(request)
        reader = self._context.reader
        root = build_tree(run, reader.steps(run.run_id), reader.history(run.run_id))
        with_output = queries.flag(request.query_params, "includeOutput")
        return v2_data(
            {
                "runId": ulid_text(run.run_id),
                "rootSpan": span_object(root, with_output=with_output),
            },
            now_ms=self._context.runtime.now_ms(),
        )

    async def of_event(self, request: Request) -> Response:
        """The runs that an event started, in the order of their ids."""
        event = self._context.reader.event(queries.event_id(request.path_params["event_id"]))
        if event is None:
            raise WireError("Event not found", code="not_found", status=404)
        query = request.query_params
        limit = queries.limit(query, default=LIMIT_DEFAULT, most=EVENT_RUNS_MAX)
        cursor = queries.cursor(query)
        ids = [run_id for run_id in sorted(event.runs) if cursor is None or run_id > cursor]
        found = (self._context.reader.run(run_id) for run_id in ids[: limit + 1])
        records = [run for run in found if run is not None]
        return self._page(records, limit, with_output=queries.flag(query, "includeOutput"))

    def _page(self, records: Sequence[RunRecord], limit: int, *, with_output: bool) -> Response:
        shown = records[:limit]
        page: dict[str, Any] = {"limit": limit}
        if len(records) > limit:
            page |= {"hasMore": True, "cursor": ulid_text(shown[-1].run_id)}
        return v2_data(
            [run_object(run, self._context, with_output=with_output) for run in shown],
            now_ms=self._context.runtime.now_ms(),
            page=page,
        )

    def _found(self, request: Request) -> RunRecord:
        run = self._context.reader.run(queries.run_id(request.path_params["run_id"]))
        if run is None:
            raise WireError("Run not found", code="not_found", status=404)
        return run

    def _function_nos(self, query: QueryParams) -> list[int] | None:
        """The functions that `appId` and `functionId` name, archived ones too; None means all."""
        apps = query.getlist("appId")
        wanted = query.getlist("functionId")
        if wanted and not apps:
            raise WireError("functionId needs appId", code="invalid_request")
        if not apps:
            return None
        return [
            entry.no
            for entry in self._context.runtime.catalog.all_functions
            if entry.app_name in apps
            and (not wanted or any(matches(entry, name) for name in wanted))
        ]


def _status(text: str) -> RunStatus:
    status = _STATUSES.get(text.upper())
    if status is None:
        raise WireError(
            f"status {text!r} is none of {', '.join(_STATUSES)}", code="invalid_field_format"
        )
    return status


def _newest_first(query: QueryParams) -> bool:
    order = query.get("order", "desc").lower()
    if order not in ("asc", "desc"):
        raise WireError("order must be asc or desc", code="invalid_field_format")
    return order == "desc"


def _refuse_unsupported(query: QueryParams) -> None:
    """What this version cannot do is refused, not ignored."""
    field = query.get("timeField", "queuedAt")
    if field not in ("queuedAt", "QUEUED_AT"):
        raise WireError(
            f"timeField {field!r} is not supported in this version; runs are listed by queuedAt",
            code="not_implemented",
            status=501,
        )
    if "isDeferred" in query:
        raise WireError(
            "isDeferred is not supported in this version", code="not_implemented", status=501
        )
