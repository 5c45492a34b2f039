"""Events as functions and API clients see them, lifecycle events built from their run's rows.

A lifecycle event (`inngest/function.finished` and `.failed`) is stored without data: its body
repeats the run's trigger event and output, which are on disk once already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stepwell.engine.rows import RunStatus
from stepwell.errors import StoreError
from stepwell.wire.events import event_object
from stepwell.wire.ids import ulid_text
from stepwell.wire.lifecycle import FAILED_CALL, error_object, finished_data

if TYPE_CHECKING:
    from stepwell.store.interface import EventRecord, Reader

_STATUS_TEXT = {
    RunStatus.COMPLETED: "Completed",
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELLED: "Cancelled",
}


class _Named(Protocol):
    @property
    def slug(self) -> str: ...


class Functions(Protocol):
    """The one thing that is asked of the catalog here."""

    def by_no(self, no: int, /) -> _Named | None: ...


def event_body(record: EventRecord, reader: Reader, catalog: Functions) -> bytes:
    """The whole event object, as JSON, that functions receive.

    Raises:
        StoreError: A lifecycle event's run is not stored, which means rows were lost.
    """
    return event_object(
        name=record.name,
        id=record.external_id or ulid_text(record.event_id),
        ts_ms=record.ts_ms,
        data=event_data(record, reader, catalog),
        user=record.user,
        v=record.v,
        meta=record.meta,
    )


def event_data(record: EventRecord, reader: Reader, catalog: Functions) -> bytes:
    """The event's `data` alone, as JSON. Raises like `event_body`."""
    if record.source_run is None:
        return record.data
    run = reader.run(record.source_run)
    trigger = reader.event(run.event_id) if run is not None else None
    if run is None or trigger is None:
        raise StoreError(
            f"event {ulid_text(record.event_id)} tells of run {ulid_text(record.source_run)}, "
            "whose rows are not stored"
        )
    function = catalog.by_no(run.function_no)
    event = event_body(trigger, reader, catalog)
    failed = run.status is RunStatus.FAILED and run.output
    return finished_data(
        function_slug=function.slug if function else "",
        run_id=ulid_text(run.run_id),
        status=_STATUS_TEXT[run.status],
        event=event,
        events=[event],
        result=run.output or None,
        error=error_object(run.output, FAILED_CALL) if failed and run.output else None,
    )
