"""Runs as GraphQL shows them: the newer and the older type, and what started them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.server.api.graphql.apps import App, Function, app_named
from stepwell.server.api.graphql.spans import RunTraceSpan, trace_id
from stepwell.server.api.graphql.trace_shapes import newer, older
from stepwell.server.api.responses import iso
from stepwell.server.api.timeline import RUN_STATUS
from stepwell.wire.ids import ulid_ms, ulid_text
from stepwell.wire.json import decode
from stepwell.wire.lifecycle import DEFERRED_EVENT, SCHEDULED_EVENT

if TYPE_CHECKING:
    from stepwell.server.api.graphql.events import Event
    from stepwell.server.api.graphql.reading import Reading
    from stepwell.store.interface import EventRecord, RunRecord


class FunctionRunV2:
    """A run."""

    is_batch = False
    batch_created_at = None
    source_id = None

    def __init__(self, reading: Reading, run: RunRecord) -> None:
        self._reading = reading
        self._run = run
        self._function = reading.function(run.function_no)
        self.id = ulid_text(run.run_id)
        self.app_id = self._function.app_id
        self.function_id = self._function.function_id
        self.status = RUN_STATUS[run.status]
        self.queued_at = iso(ulid_ms(run.run_id))
        self.started_at = iso(run.started_at_ms)
        self.ended_at = iso(run.ended_at_ms)
        self.trigger_ids = (ulid_text(run.event_id),)

    @property
    def app(self) -> App:
        return app_named(self._reading, self._function.app_name)

    @property
    def function(self) -> Function:
        return Function(self._reading, self._function)

    @property
    def trace_id(self) -> str:
        return trace_id(self._run.run_id)

    @property
    def event_name(self) -> str:
        return self._reading.trigger(self._run).name

    @property
    def cron_schedule(self) -> str | None:
        return schedule_of(self._reading.trigger(self._run))

    @property
    def output(self) -> str | None:
        return run_output(self._reading, self._run)

    def trace(self, *, preview: bool | None = None) -> RunTraceSpan:
        return trace(self._reading, self._run, preview=bool(preview))

    @property
    def has_ai(self) -> bool:
        steps = self._reading.tree(self._run).children
        return any(step.step_op == "AI_GATEWAY" for step in steps)

    @property
    def is_deferred(self) -> bool:
        return self._reading.trigger(self._run).name == DEFERRED_EVENT


class FunctionRun:
    """A run as older clients ask for it."""

    batch_id = batch_created_at = None

    def __init__(self, reading: Reading, run: RunRecord) -> None:
        self._reading = reading
        self._run = run
        self._function = reading.function(run.function_no)
        self.id = ulid_text(run.run_id)
        self.function_id = self._function.function_id
        self.status = RUN_STATUS[run.status]
        self.started_at = iso(run.started_at_ms)
        self.finished_at = iso(run.ended_at_ms)
        self.event_id = ulid_text(run.event_id)

    @property
    def function(self) -> Function:
        return Function(self._reading, self._function)

    @property
    def event(self) -> Event:
        from stepwell.server.api.graphql.events import Event

        return Event(self._reading, self._reading.trigger(self._run))

    @property
    def events(self) -> list[Event]:
        return [self.event]

    @property
    def output(self) -> str | None:
        return run_output(self._reading, self._run)

    @property
    def cron(self) -> str | None:
        return schedule_of(self._reading.trigger(self._run))


class RunTraceTrigger:
    """What started a run."""

    is_batch = False
    batch_id = None

    def __init__(self, reading: Reading, run: RunRecord) -> None:
        event = reading.trigger(run)
        self.event_name = event.name
        self.ids = (ulid_text(event.event_id),)
        self.payloads = (reading.body(event).decode(),)
        self.timestamp = iso(ulid_ms(event.event_id))
        self.cron = schedule_of(event)


def trace(reading: Reading, run: RunRecord, *, preview: bool) -> RunTraceSpan:
    """The root of a run's tree."""
    root = reading.tree(run)
    shown = newer(root) if preview else older(root, reading.function(run.function_no).slug)
    return RunTraceSpan(reading, run, shown)


def run_output(reading: Reading, run: RunRecord) -> str | None:
    """The result or the error as JSON text; a list leaves out a large one, so it is read again."""
    if run.output is None and run.status.is_over:
        run = reading.run(run.run_id) or run
    return run.output.decode() if run.output else None


def schedule_of(event: EventRecord) -> str | None:
    """The schedule whose time made this event."""
    if event.name != SCHEDULED_EVENT:
        return None
    data: Any = decode(event.data)
    return str(data["cron"])
