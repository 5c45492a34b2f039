"""What one GraphQL request reads: each row once, and no more than its limits.

A query can ask for the same things under many names, and for lists in lists. What it costs is
counted while it runs, in what it costs the server: fields, rows and bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from stepwell.errors import LimitExceeded
from stepwell.server.api.timeline import build_tree
from stepwell.server.lifecycle import event_body, event_data
from stepwell.wire.ids import ulid_text
from stepwell.wire.lifecycle import FINISHED_EVENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from stepwell.engine.rows import RunStatus
    from stepwell.server.api.context import Context
    from stepwell.server.api.timeline import Span
    from stepwell.server.runtime import FunctionEntry
    from stepwell.store.interface import EventRecord, RunRecord
    from stepwell.wire.ids import EventId, RunId

FIELDS_MAX: Final = 60_000
"""The trace of 3,000 steps, each with twenty fields. It is about half a second of work."""

ROWS_MAX: Final = 20_000
BYTES_MAX: Final = 96 * 2**20
"""A run may keep 32 MiB, and a trace shows it once."""

COUNT_MAX: Final = 10_000
"""Counts go no further."""

TREES_KEPT_MAX: Final = 4
BREATH_ITEMS: Final = 20
"""After so many items of a list everything else gets its turn."""

SAME_INSTANT_MAX: Final = 500
"""Events of one instant among which one is looked for."""

_T = TypeVar("_T")


class Reading:
    """One request's access to what is stored.

    Raises:
        LimitExceeded: From every method that reads, when the request has had its share.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._fields = 0
        self._rows = 0
        self._bytes = 0
        self._trees: dict[RunId, Span] = {}
        self._runs: dict[RunId, RunRecord | None] = {}

    def count_field(self) -> None:
        """A field is about to be resolved."""
        self._fields += 1
        if self._fields > FIELDS_MAX:
            raise _too_much("fields", FIELDS_MAX)

    # --- rows ---

    def function(self, function_no: int) -> FunctionEntry:
        """The function of a run, archived or not."""
        entry = self.context.runtime.catalog.by_no(function_no)
        assert entry is not None, "functions are archived, never deleted"
        return entry

    def run(self, run_id: RunId) -> RunRecord | None:
        """A run with its output."""
        if run_id not in self._runs:
            run = self.context.reader.run(run_id)
            self._charge(1, 0 if run is None else len(run.output or b""))
            self._runs[run_id] = run
        return self._runs[run_id]

    def runs(
        self,
        *,
        before: RunId | None = None,
        after: RunId | None = None,
        queued_from_ms: int | None = None,
        queued_until_ms: int | None = None,
        statuses: Collection[RunStatus] = (),
        function_nos: Collection[int] | None = None,
        newest_first: bool = True,
        limit: int,
    ) -> list[RunRecord]:
        """As `Reader.runs`: a large output is left out."""
        found = self.context.reader.runs(
            before=before,
            after=after,
            queued_from_ms=queued_from_ms,
            queued_until_ms=queued_until_ms,
            statuses=statuses,
            function_nos=function_nos,
            newest_first=newest_first,
            limit=limit,
        )
        self._charge(len(found), sum([len(run.output or b"") for run in found]))
        return found

    def event(self, event_id: EventId) -> EventRecord | None:
        """An event."""
        event = self.context.reader.event(event_id)
        self._charge(1, 0 if event is None else len(event.data))
        return event

    def trigger(self, run: RunRecord) -> EventRecord:
        """The event that started a run."""
        event = self.event(run.event_id)
        assert event is not None, "a run's event is stored with the run"
        return event

    def data(self, event: EventRecord) -> bytes:
        """An event's data, which a lifecycle event takes from its run."""
        data = event_data(event, self.context.reader, self.context.runtime.catalog)
        self._charge(2, len(data))
        return data

    def body(self, event: EventRecord) -> bytes:
        """An event as functions receive it."""
        body = event_body(event, self.context.reader, self.context.runtime.catalog)
        self._charge(2, len(body))
        return body

    def events(
        self,
        *,
        before: EventId | None = None,
        received_after_ms: int | None = None,
        received_before_ms: int | None = None,
        name: str | None = None,
        include_internal: bool = False,
        limit: int,
    ) -> list[EventRecord]:
        """As `Reader.events`."""
        found = self.context.reader.events(
            before=before,
            received_after_ms=received_after_ms,
            received_before_ms=received_before_ms,
            name=name,
            include_internal=include_internal,
            limit=limit,
        )
        self._charge(len(found), sum([len(event.data) for event in found]))
        return found

    def charge_rows(self, rows: int) -> None:
        """So many rows were read that are no runs and no events."""
        self._charge(rows, 0)

    def charge_count(self) -> None:
        """Rows are about to be counted, up to `COUNT_MAX`."""
        self._charge(COUNT_MAX // 20, 0)  # An index entry is little beside a row.

    def tree(self, run: RunRecord) -> Span:
        """A run as a tree; the last few are kept."""
        tree = self._trees.get(run.run_id)
        if tree is None:
            reader = self.context.reader
            whole = self.run(run.run_id) or run
            steps, history = reader.steps(run.run_id), reader.history(run.run_id)
            size = sum([len(step.data) for step in steps])
            self._charge(
                len(steps) + len(history), size + sum([len(row.payload or b"") for row in history])
            )
            tree = build_tree(whole, steps, history)
            if len(self._trees) >= TREES_KEPT_MAX:
                del self._trees[next(iter(self._trees))]
            self._trees[run.run_id] = tree
        return tree

    # --- what is looked for ---

    def finish_of(self, run: RunRecord) -> str | None:
        """The event that told of a run's end, if it can be found."""
        if run.ended_at_ms is None:
            return None
        for event in self.events(
            received_after_ms=run.ended_at_ms,
            received_before_ms=run.ended_at_ms + 1,
            name=FINISHED_EVENT,
            include_internal=True,
            limit=SAME_INSTANT_MAX,
        ):
            if event.source_run == run.run_id:
                return ulid_text(event.event_id)
        return None

    def _charge(self, rows: int, size: int) -> None:
        self._rows += rows
        self._bytes += size
        if self._rows > ROWS_MAX:
            raise _too_much("rows", ROWS_MAX)
        if self._bytes > BYTES_MAX:
            raise _too_much("bytes", BYTES_MAX)


def paced(items: Sequence[_T]) -> Sequence[_T] | AsyncIterator[_T]:
    """A list's items; a long list lets others work in between."""
    return items if len(items) <= BREATH_ITEMS else _paced(items)


async def _paced(items: Sequence[_T]) -> AsyncIterator[_T]:
    for number, item in enumerate(items, 1):
        yield item
        if number % BREATH_ITEMS == 0:
            await asyncio.sleep(0)


def _too_much(what: str, limit: int) -> LimitExceeded:
    return LimitExceeded(
        f"the query costs more than {limit} {what}", hint="ask for less, or in several requests"
    )
