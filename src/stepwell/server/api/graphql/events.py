"""Events as GraphQL shows them: the newer and the older type, and the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.rows import RunStatus
from stepwell.server.api.graphql.reading import paced
from stepwell.server.api.graphql.runs import FunctionRun, FunctionRunV2, schedule_of
from stepwell.server.api.responses import iso
from stepwell.wire.events import NULL
from stepwell.wire.ids import ENVIRONMENT_ID, ulid_ms, ulid_text
from stepwell.wire.json import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from stepwell.server.api.graphql.reading import Reading
    from stepwell.store.interface import EventRecord, RunRecord


class EventV2:
    """An event."""

    env_id = ENVIRONMENT_ID

    def __init__(self, reading: Reading, event: EventRecord) -> None:
        self._reading = reading
        self._event = event
        self.id = ulid_text(event.event_id)
        self.idempotency_key = event.external_id
        self.name = event.name
        self.occurred_at = iso(event.ts_ms)
        self.received_at = iso(ulid_ms(event.event_id))
        self.version = event.v

    @property
    def raw(self) -> str:
        return raw(self._reading, self._event)

    @property
    def runs(self) -> Sequence[FunctionRunV2] | AsyncIterator[FunctionRunV2]:
        return paced(
            [FunctionRunV2(self._reading, run) for run in runs(self._reading, self._event)]
        )


class Event:
    """An event as older clients ask for it."""

    def __init__(self, reading: Reading, event: EventRecord) -> None:
        self._reading = reading
        self._event = event
        self.id = ulid_text(event.event_id)
        self.external_id = event.external_id
        self.name = event.name
        self.created_at = iso(ulid_ms(event.event_id))

    @property
    def payload(self) -> str:
        return _object(self._reading.data(self._event)).decode()

    @property
    def raw(self) -> str:
        return raw(self._reading, self._event)

    @property
    def total_runs(self) -> int:
        return len(self._event.runs)

    @property
    def pending_runs(self) -> int:
        return sum(not run.status.is_over for run in runs(self._reading, self._event))

    @property
    def status(self) -> str:
        found = runs(self._reading, self._event)
        if not found:
            return "NO_FUNCTIONS"
        failed = sum(run.status is RunStatus.FAILED for run in found)
        if any(not run.status.is_over for run in found):
            return "RUNNING"
        if failed == 0:
            return "COMPLETED"
        return "FAILED" if failed == len(found) else "PARTIALLY_FAILED"

    @property
    def function_runs(self) -> Sequence[FunctionRun] | AsyncIterator[FunctionRun]:
        return paced([FunctionRun(self._reading, run) for run in runs(self._reading, self._event)])


class StreamItem:
    """An event, or the time of a schedule, with what it started."""

    in_batch = False

    def __init__(self, reading: Reading, event: EventRecord) -> None:
        self._reading = reading
        self._event = event
        schedule = schedule_of(event)
        self.id = ulid_text(event.event_id)
        self.trigger = event.name if schedule is None else schedule
        self.type = "EVENT" if schedule is None else "CRON"
        self.created_at = iso(ulid_ms(event.event_id))

    @property
    def runs(self) -> Sequence[FunctionRun] | AsyncIterator[FunctionRun]:
        return paced([FunctionRun(self._reading, run) for run in runs(self._reading, self._event)])


def runs(reading: Reading, event: EventRecord) -> list[RunRecord]:
    """The runs that an event started, in the order of their ids."""
    found = (reading.run(run_id) for run_id in sorted(event.runs))
    return [run for run in found if run is not None]


def raw(reading: Reading, event: EventRecord) -> str:
    """The event with exactly the keys that suites compare."""
    parts = [b'{"data":', _object(reading.data(event))]
    parts += (b',"id":', encode(event.external_id or ulid_text(event.event_id)))
    parts += (b',"name":', encode(event.name), b',"ts":%d,"v":' % event.ts_ms)
    parts += (encode(event.v), b"}")
    return b"".join(parts).decode()


def _object(data: bytes) -> bytes:
    """An event without data has an empty object here, and here alone."""
    return b"{}" if data in (b"", NULL) else data
