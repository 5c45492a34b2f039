"""`GET /v1/events`, `/v1/events/{id}`, `/v1/events/{id}/runs`.

Errors carry their real HTTP status; nothing is cached.
Source: docs/reference/http-api.md, "REST v1".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.responses import iso, raw, v1_data, without_empty
from stepwell.server.api.rest_v1.runs import run_object
from stepwell.server.lifecycle import event_data
from stepwell.wire.ids import EventId, ulid_ms, ulid_text

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context
    from stepwell.store.interface import EventRecord

LIMIT_DEFAULT = 20
LIMIT_MAX = 51
WINDOW_MS = 3_600_000  # Without `received_after` a list shows the last hour.
NIL_ID = "00000000-0000-0000-0000-000000000000"  # Accounts and environments of v1 events.


class EventReads:
    """Stored events."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route("/v1/events", self.listing),
            Route("/v1/events/{event_id}", self.one),
            Route("/v1/events/{event_id}/runs", self.runs),
        ]

    async def listing(self, request: Request) -> Response:
        """Newest first, without internal events; page on with the last `internal_id`."""
        query = request.query_params
        before = queries.cursor(query)
        after_ms = queries.instant_ms(query, "received_after")
        now_ms = self._context.runtime.now_ms()
        records = self._context.reader.events(
            before=None if before is None else EventId(before),
            received_after_ms=now_ms - WINDOW_MS if after_ms is None else after_ms,
            received_before_ms=queries.instant_ms(query, "received_before"),
            name=query.get("name") or None,
            limit=queries.limit(query, default=LIMIT_DEFAULT, most=LIMIT_MAX),
        )
        return v1_data([self._object(record) for record in records], now_ms=now_ms)

    async def one(self, request: Request) -> Response:
        record = self._found(request)
        event = self._object(record)
        if told := self._told(record):
            event["told"] = told
        return v1_data(event, now_ms=self._context.runtime.now_ms())

    async def runs(self, request: Request) -> Response:
        """The runs that this event started."""
        record = self._found(request)
        found = (self._context.reader.run(run_id) for run_id in record.runs)
        runtime = self._context.runtime
        return v1_data(
            [run_object(run, runtime) for run in found if run is not None],
            now_ms=runtime.now_ms(),
        )

    def _told(self, record: EventRecord) -> dict[str, Any]:
        """What it did to runs that it did not start. An addition of ours."""
        told = self._context.runtime.told(record.event_id)
        return without_empty(
            {
                "continued": [ulid_text(run_id) for run_id in told.continued],
                "cancelled": [ulid_text(run_id) for run_id in told.cancelled],
                "pending": told.is_pending or None,
            }
        )

    def _found(self, request: Request) -> EventRecord:
        event_id = queries.event_id(request.path_params["event_id"])
        record = self._context.reader.event(event_id)
        if record is None:
            raise WireError("Event not found", code="not_found", status=404)
        return record

    def _object(self, record: EventRecord) -> dict[str, Any]:
        internal_id = ulid_text(record.event_id)
        data = event_data(record, self._context.reader, self._context.runtime.catalog)
        event: dict[str, Any] = {
            "internal_id": internal_id,
            "account_id": NIL_ID,
            "environment_id": NIL_ID,
            "source": "",
            "source_id": None,
            "received_at": iso(ulid_ms(record.event_id)),
            "id": record.external_id or internal_id,
            "name": record.name,
            "data": raw(data),
            "ts": record.ts_ms,
        }
        if record.user and record.user != b"{}":
            event["user"] = raw(record.user)
        if record.v is not None:
            event["v"] = record.v
        return event
