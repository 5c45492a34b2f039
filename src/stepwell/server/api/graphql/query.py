"""The root of queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.graphql.apps import App, Function, UnsyncedApp, all_apps
from stepwell.server.api.graphql.events import Event, EventV2, StreamItem
from stepwell.server.api.graphql.reading import paced
from stepwell.server.api.graphql.runs import FunctionRun, FunctionRunV2, RunTraceTrigger, trace
from stepwell.server.api.graphql.search import find_events, find_runs
from stepwell.server.api.graphql.spans import RunTraceSpan, RunTraceSpanOutput, output_by_id
from stepwell.server.api.graphql.workers import WorkerConnection, find_workers, worker_by_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from stepwell.server.api.graphql.reading import Reading
    from stepwell.server.api.graphql.search import Connection
    from stepwell.store.interface import EventRecord, RunRecord

EVENTS_LISTED: Final = 100
STREAM_MAX: Final = 1_000


class Query:
    """What can be asked. An error that a method raises becomes one of the answer."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    # --- apps and functions ---

    def apps(self, *, filter: Mapping[str, Any] | None = None) -> list[App | UnsyncedApp]:
        method = (filter or {}).get("method")
        return [app for app in all_apps(self._reading) if method in (None, app.method)]

    def app(self, *, id: str) -> App | UnsyncedApp | None:
        return next((app for app in all_apps(self._reading) if app.id == id), None)

    def functions(self) -> Sequence[Function] | AsyncIterator[Function]:
        catalog = self._reading.context.runtime.catalog
        return paced([Function(self._reading, entry) for entry in catalog.functions])

    def function_by_slug(self, *, query: Mapping[str, Any]) -> Function | None:
        entry = self._reading.context.runtime.catalog.named(query["functionSlug"])
        return None if entry is None else Function(self._reading, entry)

    # --- events ---

    def event(self, *, query: Mapping[str, Any]) -> Event:
        return Event(self._reading, self._event(query["eventId"]))

    def events(self, *, query: Mapping[str, Any]) -> Sequence[Event] | AsyncIterator[Event]:
        last = query.get("lastEventId")
        found = self._reading.events(
            before=queries.event_id(last) if last else None,
            include_internal=True,
            limit=EVENTS_LISTED,
        )
        return paced([Event(self._reading, event) for event in found])

    def event_v2(self, *, id: str) -> EventV2:
        return EventV2(self._reading, self._event(id))

    async def events_v2(
        self, *, first: int, filter: Mapping[str, Any], after: str | None = None
    ) -> Connection[EventV2]:
        return await find_events(self._reading, first=first, after=after, filter=filter)

    def stream(
        self, *, query: Mapping[str, Any]
    ) -> Sequence[StreamItem] | AsyncIterator[StreamItem]:
        before, after = query.get("before"), query.get("after")
        found = self._reading.events(
            before=queries.event_id(before) if before else None,
            include_internal=bool(query.get("includeInternalEvents")),
            limit=min(max(0, query["limit"]), STREAM_MAX),
        )
        if after:
            first = queries.event_id(after)
            found = [event for event in found if event.event_id > first]
        return paced([StreamItem(self._reading, event) for event in found])

    # --- runs ---

    def run(self, *, run_id: str) -> FunctionRunV2:
        return FunctionRunV2(self._reading, self._run(run_id))

    async def runs(
        self,
        *,
        first: int,
        order_by: Sequence[Mapping[str, str]],
        filter: Mapping[str, Any],
        after: str | None = None,
    ) -> Connection[FunctionRunV2]:
        return await find_runs(
            self._reading, first=first, after=after, order_by=order_by, filter=filter
        )

    def function_run(self, *, query: Mapping[str, Any]) -> FunctionRun:
        return FunctionRun(self._reading, self._run(query["functionRunId"]))

    def run_trigger(self, *, run_id: str) -> RunTraceTrigger:
        return RunTraceTrigger(self._reading, self._run(run_id))

    def run_trace(self, *, run_id: str) -> RunTraceSpan:
        return trace(self._reading, self._run(run_id), preview=True)

    def run_trace_span_output_by_id(self, *, output_id: str) -> RunTraceSpanOutput:
        return output_by_id(self._reading, output_id)

    # --- workers ---

    async def worker_connections(
        self,
        *,
        first: int,
        order_by: Sequence[Mapping[str, str]],
        filter: Mapping[str, Any],
        after: str | None = None,
    ) -> Connection[WorkerConnection]:
        return await find_workers(
            self._reading, first=first, after=after, order_by=order_by, filter=filter
        )

    def worker_connection(self, *, connection_id: str) -> WorkerConnection:
        return worker_by_id(self._reading, connection_id)

    def _run(self, text: str) -> RunRecord:
        run = self._reading.run(queries.run_id(text))
        if run is None:
            raise WireError(f"Run not found: {text}", code="not_found", status=404)
        return run

    def _event(self, text: str) -> EventRecord:
        event = self._reading.event(queries.event_id(text))
        if event is None:
            raise WireError(f"Event not found: {text}", code="not_found", status=404)
        return event
