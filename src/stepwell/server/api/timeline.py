"""A run as a tree: the run, its steps, their attempts. One tree, built from stored rows.

Root `Run`; one child per step, by the time it began; under a step that was tried more than once
(or failed) one child per attempt; last `Finalization`, the function's own return or failure.

A step that waits makes no calls. Failed attempts of the function's body that came before it are
its attempts, and the wait is the last of them.

Doubt: a failed attempt's start is not stored, only its end; it is left out rather than guessed.
Source: docs/reference/http-api.md, "Trace".
"""

from __future__ import annotations

import hashlib
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.engine.rows import HistoryKind, RunStatus, StepKind
from stepwell.server.api.cancellation import Cancellation, read_cancellation
from stepwell.server.api.step_details import (
    Detail,
    EventWait,
    Invocation,
    ServerRequest,
    SignalWait,
    Sleep,
    read_begun,
)
from stepwell.wire.ids import UNTARGETED_STEP, ulid_ms, ulid_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.server.api.step_details import Begun
    from stepwell.store.interface import HistoryRecord, RunRecord, StepRecord

QUEUED: Final = "QUEUED"
RUNNING: Final = "RUNNING"
WAITING: Final = "WAITING"
COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"
CANCELLED: Final = "CANCELLED"
SKIPPED: Final = "SKIPPED"

RUN_STATUS: Final = {
    RunStatus.SCHEDULED: QUEUED,
    RunStatus.RUNNING: RUNNING,
    RunStatus.COMPLETED: COMPLETED,
    RunStatus.FAILED: FAILED,
    RunStatus.CANCELLED: CANCELLED,
    RunStatus.SKIPPED: SKIPPED,
}


_OTHER_KINDS: Final = (HistoryKind.DEFERRED, HistoryKind.DEFER_WITHDRAWN, HistoryKind.CANCELLED)
"""History that is of no step and of no attempt."""


_WITHOUT_OUTPUT: Final = (StepKind.SLEEP, StepKind.SIGNAL_TIMEOUT)
_OPS: Final = {StepKind.SLEEP: "SLEEP", StepKind.INFER: "AI_GATEWAY"}
"""Of steps whose beginning is not known."""


class Role(Enum):
    """What a span is."""

    RUN = auto()
    STEP = auto()
    FUNCTION = auto()  # the function's own end, or its attempts so far
    ATTEMPT = auto()
    LOST_CALL = auto()


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One node. Times are milliseconds since the epoch; `output` is JSON.

    Attributes:
        detail: Of a step that is more than a call: what it waited for.
        number: Of an attempt, from 0.
        cancellation: Of a run that was cancelled: by what.
    """

    role: Role
    span_id: str
    name: str
    status: str
    detail: Detail | None = None
    number: int = 0
    step_op: str | None = None
    step_id: str | None = None
    queued_at_ms: int | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    output: bytes | None = None
    children: tuple[Span, ...] = ()
    cancellation: Cancellation | None = None

    @property
    def sleep_until_ms(self) -> int | None:
        return self.detail.until_ms if isinstance(self.detail, Sleep) else None

    @property
    def duration_ms(self) -> int | None:
        if self.started_at_ms is None or self.ended_at_ms is None:
            return None
        return max(0, self.ended_at_ms - self.started_at_ms)


def build_tree(
    run: RunRecord, steps: Sequence[StepRecord], history: Sequence[HistoryRecord]
) -> Span:
    """The tree of one run from its rows, each sequence in stored order."""
    return _Builder(run, steps, history).tree()


class _Builder:
    """Sorts the history rows to their steps, then makes spans."""

    def __init__(
        self, run: RunRecord, steps: Sequence[StepRecord], history: Sequence[HistoryRecord]
    ) -> None:
        self._run = run
        self._steps = steps
        self._over = run.status.is_over
        self._cancellation = read_cancellation(history)
        self._by_step: dict[str, list[HistoryRecord]] = {}
        # Failures of the function's body between steps: they belong to the step that the next
        # attempt found, or to the function's end.
        self._loose: list[HistoryRecord] = []
        for row in history:
            if row.kind in _OTHER_KINDS:
                continue
            if row.step_id is None or row.step_id == UNTARGETED_STEP:
                self._loose.append(row)
            else:
                self._by_step.setdefault(row.step_id, []).append(row)

    def tree(self) -> Span:
        run = self._run
        children = [self._stored(step) for step in self._steps]
        stored = {step.step_id for step in self._steps}
        children += [
            self._unfinished(step_id, rows)
            for step_id, rows in self._by_step.items()
            if step_id not in stored
        ]
        children.sort(key=_begin)  # stable: steps that began together stay in order of completion
        last = self._function()
        if last is not None:
            children.append(last)
        return Span(
            role=Role.RUN,
            span_id=self._id("run"),
            name="Run",
            status=RUN_STATUS[run.status],
            queued_at_ms=ulid_ms(run.run_id),
            started_at_ms=run.started_at_ms,
            ended_at_ms=run.ended_at_ms,
            output=run.output,
            children=tuple(children),
            cancellation=self._cancellation,
        )

    def _stored(self, step: StepRecord) -> Span:
        """A step that has an outcome."""
        own = self._by_step.get(step.step_id, ())
        begun = read_begun(own, step)
        rows = [*self._take_loose(step, begun), *own]
        status = FAILED if step.kind is StepKind.FAILED else COMPLETED
        is_empty = step.kind in _WITHOUT_OUTPUT or (
            step.kind is StepKind.EVENT and _timed_out(begun)
        )
        output = None if is_empty else step.data
        attempts = self._attempts(step.step_id, rows)
        waits = begun is not None and begun.waits
        if attempts or (status is FAILED and not waits):
            number = _failures(rows) if waits else step.attempt
            attempts.append(
                Span(
                    role=Role.ATTEMPT,
                    span_id=self._id(step.step_id, "attempt", number),
                    name=f"Attempt {number}",
                    number=number,
                    status=status,
                    started_at_ms=step.started_at_ms,
                    ended_at_ms=step.ended_at_ms,
                    output=output,
                )
            )
        return Span(
            role=Role.STEP,
            span_id=self._id(step.step_id),
            name=step.name,
            status=status,
            step_op=_op(begun, step.kind),
            step_id=step.step_id,
            detail=_detail(begun, step),
            queued_at_ms=step.started_at_ms if waits else _planned_ms(rows),
            started_at_ms=step.started_at_ms,
            ended_at_ms=step.ended_at_ms,
            output=output,
            children=tuple(attempts),
        )

    def _unfinished(self, step_id: str, own: Sequence[HistoryRecord]) -> Span:
        """A step that was announced, or failed and will be tried again, or never got its end."""
        begun = read_begun(own, None)
        rows = [*self._take_loose(None, begun), *own]
        planned_ms = _planned_ms(rows)
        waits = begun is not None and begun.waits
        open_status = QUEUED if begun is None else WAITING if waits else RUNNING
        status = CANCELLED if self._over else open_status  # cancelled: the run ended first
        ended_at_ms = self._run.ended_at_ms if self._over else None
        attempts = self._attempts(step_id, rows)
        if attempts and begun is not None and waits:
            number = _failures(rows)
            attempts.append(
                Span(
                    role=Role.ATTEMPT,
                    span_id=self._id(step_id, "attempt", number),
                    name=f"Attempt {number}",
                    number=number,
                    status=status,
                    started_at_ms=begun.at_ms,
                    ended_at_ms=ended_at_ms,
                )
            )
        return Span(
            role=Role.STEP,
            span_id=self._id(step_id),
            name=next((row.name for row in rows if row.name), step_id),
            status=status,
            step_op=_op(begun, None),
            step_id=step_id,
            detail=None if begun is None else begun.detail,
            queued_at_ms=planned_ms if planned_ms is not None else rows[0].at_ms,
            started_at_ms=None if begun is None else begun.at_ms,
            ended_at_ms=ended_at_ms,
            children=tuple(attempts),
        )

    def _function(self) -> Span | None:
        """The function's own end; before that, its failed attempts while it is tried again."""
        run = self._run
        attempts = self._attempts("function", self._loose)
        if run.status not in (RunStatus.COMPLETED, RunStatus.FAILED):
            if not attempts:
                return None
            return Span(
                role=Role.FUNCTION,
                span_id=self._id("function"),
                name="Execution",
                status=CANCELLED if self._over else QUEUED,
                queued_at_ms=self._loose[0].at_ms,
                ended_at_ms=run.ended_at_ms,
                children=tuple(attempts),
            )
        status = RUN_STATUS[run.status]
        before = [step.ended_at_ms for step in self._steps]
        started_at_ms = max(before, default=run.started_at_ms)
        if attempts or status == FAILED:
            number = _failures(self._loose)
            attempts.append(
                Span(
                    role=Role.ATTEMPT,
                    span_id=self._id("function", "attempt", number),
                    name=f"Attempt {number}",
                    number=number,
                    status=status,
                    started_at_ms=None if attempts else started_at_ms,
                    ended_at_ms=run.ended_at_ms,
                    output=run.output,
                )
            )
        return Span(
            role=Role.FUNCTION,
            span_id=self._id("function"),
            name="Finalization",
            status=status,
            started_at_ms=started_at_ms,
            ended_at_ms=run.ended_at_ms,
            children=tuple(attempts),
        )

    def _take_loose(self, step: StepRecord | None, begun: Begun | None) -> list[HistoryRecord]:
        """The function's failed attempts that came before the attempt that found this step."""
        taken: list[HistoryRecord] = []
        if begun is not None:
            if begun.waits:
                taken = [row for row in self._loose if row.seq < begun.seq]
        elif step is not None:
            taken = [
                row
                for row in self._loose
                if row.at_ms <= step.ended_at_ms and row.attempt < step.attempt
            ]
        self._loose = [row for row in self._loose if row not in taken]
        return taken

    def _attempts(self, owner: str, rows: Sequence[HistoryRecord]) -> list[Span]:
        spans: list[Span] = []
        for row in rows:
            if row.kind is HistoryKind.ATTEMPT_FAILED:
                role, name = Role.ATTEMPT, f"Attempt {row.attempt}"
            elif row.kind is HistoryKind.CALL_LOST:
                role, name = Role.LOST_CALL, "Lost call"
            else:
                continue
            spans.append(
                Span(
                    role=role,
                    span_id=self._id(owner, row.kind.name, row.seq),
                    name=name,
                    number=row.attempt,
                    status=FAILED,
                    ended_at_ms=row.at_ms,
                    output=row.payload,
                )
            )
        return spans

    def _id(self, *parts: object) -> str:
        """Eight bytes in hex, the same each time the run is read."""
        text = ":".join((ulid_text(self._run.run_id), *map(str, parts)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _begin(span: Span) -> int:
    for time_ms in (span.started_at_ms, span.queued_at_ms, span.ended_at_ms):
        if time_ms is not None:
            return time_ms
    return 0


def _planned_ms(rows: Sequence[HistoryRecord]) -> int | None:
    return next((row.at_ms for row in rows if row.kind is HistoryKind.STEP_PLANNED), None)


def _failures(rows: Sequence[HistoryRecord]) -> int:
    return sum(row.kind is HistoryKind.ATTEMPT_FAILED for row in rows)


def _timed_out(begun: Begun | None) -> bool:
    detail = None if begun is None else begun.detail
    return isinstance(detail, EventWait) and detail.timed_out is True


def _op(begun: Begun | None, kind: StepKind | None) -> str:
    """The step's kind in a word; a request that the server makes is a step like others."""
    match None if begun is None else begun.detail:
        case Sleep():
            return "SLEEP"
        case EventWait():
            return "WAIT_FOR_EVENT"
        case SignalWait():
            return "WAIT_FOR_SIGNAL"
        case Invocation():
            return "INVOKE"
        case ServerRequest(of_ai=True):
            return "AI_GATEWAY"
    return "RUN" if kind is None else _OPS.get(kind, "RUN")


def _detail(begun: Begun | None, step: StepRecord) -> Detail | None:
    detail = None if begun is None else begun.detail
    if step.kind is StepKind.SLEEP and (not isinstance(detail, Sleep) or detail.until_ms is None):
        return Sleep(until_ms=step.ended_at_ms)
    return detail
