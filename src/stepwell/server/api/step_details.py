"""What a step waited for, read from the history row that says how it began.

Source: docs/reference/http-api.md, "Trace".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.engine.rows import HistoryKind, StepKind
from stepwell.wire.durations import parse_instant_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.store.interface import HistoryRecord, StepRecord

INVOKE_TIMEOUT: Final = "InngestInvokeTimeoutError"
"""The name of the error of a step whose invoked function took too long."""


class Sleep(msgspec.Struct, frozen=True, kw_only=True):
    """A step that sleeps; None if the time is not known any more."""

    until_ms: int | None


class EventWait(msgspec.Struct, frozen=True, kw_only=True):
    """A step that waits for an event. `timed_out` is None while it does."""

    event: str
    condition: str | None
    until_ms: int | None
    timed_out: bool | None


class SignalWait(msgspec.Struct, frozen=True, kw_only=True):
    """A step that waits for a signal."""

    signal: str
    until_ms: int | None
    timed_out: bool | None


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """A step that runs another function; `event_id` and `run_id` are ULIDs as text."""

    function: str
    event_id: str
    run_id: str | None
    until_ms: int | None
    timed_out: bool | None


class ServerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A step whose request the server makes."""

    of_ai: bool


Detail = Sleep | EventWait | SignalWait | Invocation | ServerRequest


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """How a step began, if it was more than a call of its own."""

    seq: int
    at_ms: int
    detail: Detail

    @property
    def waits(self) -> bool:
        """Whether the step needs no calls: it has attempts only of what led to it."""
        return not isinstance(self.detail, ServerRequest)


class _Told(msgspec.Struct):
    event: str = ""
    condition: str | None = msgspec.field(default=None, name="if")
    signal: str = ""
    function: str = ""
    run: str | None = None
    until: str | None = None


_TOLD = msgspec.json.Decoder(_Told)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_begun(rows: Sequence[HistoryRecord], step: StepRecord | None) -> Begun | None:
    """What the rows of one step say of how it began; None if it is a plain step.

    Args:
        step: Its outcome, if it has one.
    """
    for row in rows:
        detail = _detail(row, step)
        if detail is not None:
            return Begun(seq=row.seq, at_ms=row.at_ms, detail=detail)
    return None


def _detail(row: HistoryRecord, step: StepRecord | None) -> Detail | None:
    payload = row.payload or b"{}"
    match row.kind:
        case HistoryKind.SLEEP_STARTED:
            return Sleep(until_ms=msgspec.json.decode(row.payload or b"null", type=int | None))
        case HistoryKind.FETCH_STARTED:
            return ServerRequest(of_ai=False)
        case HistoryKind.INFER_STARTED:
            return ServerRequest(of_ai=True)
        case HistoryKind.WAIT_STARTED:
            told = _TOLD.decode(payload)
            return EventWait(
                event=told.event,
                condition=told.condition,
                until_ms=_instant_ms(told.until),
                timed_out=None if step is None else step.data in (b"", b"null"),
            )
        case HistoryKind.SIGNAL_WAIT_STARTED:
            told = _TOLD.decode(payload)
            return SignalWait(
                signal=told.signal,
                until_ms=_instant_ms(told.until),
                timed_out=None if step is None else step.kind is StepKind.SIGNAL_TIMEOUT,
            )
        case HistoryKind.INVOKE_STARTED:
            told = _TOLD.decode(payload)
            return Invocation(
                function=told.function,
                event_id=told.event,
                run_id=told.run,
                until_ms=_instant_ms(told.until),
                timed_out=None if step is None else _is_invoke_timeout(step),
            )
    return None


def _is_invoke_timeout(step: StepRecord) -> bool:
    if step.kind is not StepKind.FAILED:
        return False
    try:
        name = _FIELDS.decode(step.data).get("name", msgspec.Raw())
    except msgspec.DecodeError:  # whatever this error is, it is not the server's own
        return False
    return bytes(name) == msgspec.json.encode(INVOKE_TIMEOUT)


def _instant_ms(text: str | None) -> int | None:
    return None if text is None else parse_instant_ms(text)
