"""Spans of a trace, what their steps waited for, and outputs by id.

An output's id names its run and its span; nothing but this module reads it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.graphql.reading import paced
from stepwell.server.api.responses import iso
from stepwell.server.api.step_details import EventWait, Invocation, SignalWait, Sleep
from stepwell.server.api.timeline import FAILED, Role
from stepwell.wire.ids import EventId, RunId, parse_ulid, ulid_ms, ulid_text
from stepwell.wire.json import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from stepwell.server.api.graphql.reading import Reading
    from stepwell.server.api.graphql.runs import FunctionRun
    from stepwell.server.api.graphql.trace_shapes import Shown
    from stepwell.server.api.timeline import Span
    from stepwell.store.interface import RunRecord

FOUND_AMONG_MAX: Final = 200
"""Events of one name among which the one that a wait found is looked for."""


class RunTraceSpan:
    """One span under the name that it is shown with."""

    is_userland = False
    metadata: tuple[Any, ...] = ()

    def __init__(
        self, reading: Reading, run: RunRecord, shown: Shown, parent: RunTraceSpan | None = None
    ) -> None:
        self._reading = reading
        self._run = run
        self._shown = shown
        self.parent_span = parent
        span = shown.span
        self.span_id = span.span_id
        self.name = shown.name
        self.status = shown.status
        self.attempts = shown.attempts
        self.duration = span.duration_ms
        self.step_op = shown.step_op
        self.step_id = span.step_id
        self.step_type = shown.step_type
        self.is_root = parent is None
        self.parent_span_id = shown.parent_id
        self.started_at = iso(span.started_at_ms)
        self.ended_at = iso(span.ended_at_ms)

    @property
    def app_id(self) -> str:
        return self._reading.function(self._run.function_no).app_id

    @property
    def function_id(self) -> str:
        return self._reading.function(self._run.function_no).function_id

    @property
    def run_id(self) -> str:
        return ulid_text(self._run.run_id)

    @property
    def run(self) -> FunctionRun:
        from stepwell.server.api.graphql.runs import FunctionRun

        return FunctionRun(self._reading, self._run)

    @property
    def trace_id(self) -> str:
        return trace_id(self._run.run_id)

    @property
    def output_id(self) -> str | None:
        of = self._shown.output_of
        return None if of is None else _output_id(self._run.run_id, of)

    @property
    def queued_at(self) -> str | None:
        span = self._shown.span
        for time_ms in (span.queued_at_ms, span.started_at_ms, span.ended_at_ms):
            if time_ms is not None:
                return iso(time_ms)
        return iso(ulid_ms(self._run.run_id))

    @property
    def scheduled_at(self) -> str | None:
        return self.queued_at

    @property
    def children_spans(self) -> Sequence[RunTraceSpan] | AsyncIterator[RunTraceSpan]:
        return paced(
            [RunTraceSpan(self._reading, self._run, child, self) for child in self._shown.children]
        )

    @property
    def step_info(self) -> object | None:
        span = self._shown.span
        match span.detail:
            case Sleep(until_ms=until_ms):
                return SleepStepInfo(iso(until_ms))
            case EventWait():
                return WaitForEventStepInfo(self._reading, span.detail, span)
            case SignalWait():
                return WaitForSignalStepInfo(span.detail)
            case Invocation():
                return InvokeStepInfo(self._reading, span.detail)
        return None


class SleepStepInfo:
    """Until when a step sleeps."""

    def __init__(self, sleep_until: str | None) -> None:
        self.sleep_until = sleep_until


class WaitForSignalStepInfo:
    """The signal that a step waits for."""

    def __init__(self, wait: SignalWait) -> None:
        self.signal = wait.signal
        self.timeout = iso(wait.until_ms)
        self.timed_out = wait.timed_out


class WaitForEventStepInfo:
    """The event that a step waits for."""

    def __init__(self, reading: Reading, wait: EventWait, span: Span) -> None:
        self._reading = reading
        self._span = span
        self.event_name = wait.event
        self.expression = wait.condition
        self.timeout = iso(wait.until_ms)
        self.timed_out = wait.timed_out

    @property
    def found_event_id(self) -> str | None:
        """The internal id of the event; the step keeps the one that functions see."""
        span = self._span
        if not span.output:
            return None
        found = decode(span.output)
        given = str(found.get("id", "")) if isinstance(found, dict) else ""
        try:
            event = self._reading.event(EventId(parse_ulid(given)))
        except WireError:
            event = None
        if event is not None:
            return given
        for event in self._reading.events(
            received_after_ms=span.started_at_ms,
            received_before_ms=None if span.ended_at_ms is None else span.ended_at_ms + 1,
            name=self.event_name,
            include_internal=True,
            limit=FOUND_AMONG_MAX,
        ):
            if event.external_id == given:
                return ulid_text(event.event_id)
        return None


class InvokeStepInfo:
    """The function that a step runs, and once it is over its run."""

    def __init__(self, reading: Reading, invocation: Invocation) -> None:
        self._reading = reading
        self._child = invocation.run_id if invocation.timed_out is False else None
        self.triggering_event_id = invocation.event_id
        self.function_id = invocation.function
        self.timeout = iso(invocation.until_ms)
        self.timed_out = invocation.timed_out

    @property
    def run_id(self) -> str | None:
        return self._child

    @property
    def return_event_id(self) -> str | None:
        if self._child is None:
            return None
        run = self._reading.run(RunId(parse_ulid(self._child)))
        return None if run is None else self._reading.finish_of(run)


class RunTraceSpanOutput:
    """A value or an error."""

    def __init__(self, *, output: bytes, is_error: bool, events: bytes | None) -> None:
        self.input = None if events is None else events.decode()
        self.data = None if is_error else output.decode()
        self.error = step_error(output) if is_error else None


def output_by_id(reading: Reading, output_id: str) -> RunTraceSpanOutput:
    """The output that a span named.

    Raises:
        WireError: 400 for what is no id of an output, 404 if it is not there.
    """
    try:
        place = _PLACE.decode(base64.b64decode(output_id, validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise WireError(f"Invalid output ID: {output_id}", code="invalid_field_format") from error
    run = reading.run(queries.run_id(place.run))
    span = None if run is None else _find(reading.tree(run), place.span)
    if run is None or span is None or not span.output:
        raise WireError(f"Output not found: {output_id}", code="not_found", status=404)
    events = None
    if span.role is Role.RUN:
        events = b"[" + reading.body(reading.trigger(run)) + b"]"
    return RunTraceSpanOutput(output=span.output, is_error=span.status == FAILED, events=events)


def step_error(output: bytes) -> dict[str, Any]:
    """A stored error in parts; one without a message is shown whole as its stack."""
    value = decode(output)
    fields = value if isinstance(value, dict) else {}
    message, name, stack = (fields.get(key) for key in ("message", "name", "stack"))
    if not isinstance(message, str) or not message:
        message, stack = "", stack or output.decode()
    return {
        "message": message,
        "name": name if isinstance(name, str) else None,
        "stack": stack if isinstance(stack, str) else None,
        "cause": fields.get("cause"),
    }


def trace_id(run_id: RunId) -> str:
    """Sixteen bytes in hex, always the same for a run."""
    return hashlib.sha256(run_id).hexdigest()[:32]


class _Place(msgspec.Struct, frozen=True):
    run: str
    span: str


_PLACE = msgspec.json.Decoder(_Place)


def _output_id(run_id: RunId, span_id: str) -> str:
    place = _Place(run=ulid_text(run_id), span=span_id)
    return base64.b64encode(msgspec.json.encode(place)).decode()


def _find(span: Span, span_id: str) -> Span | None:
    if span.span_id == span_id:
        return span
    for child in span.children:
        found = _find(child, span_id)
        if found is not None:
            return found
    return None
