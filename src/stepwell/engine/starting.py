"""How runs begin: an event is stored, and starts the functions that it triggers.

Source: docs/reference/wire/triggers.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.errands import MatchEvent
from stepwell.engine.rows import PutDedup, PutEvent, PutWatch, RunStatus, SetEventRuns, WatchKind
from stepwell.engine.state import CancelOn, Deadline, Phase, Run, RunState
from stepwell.engine.watches import place_of
from stepwell.expressions import ExpressionError, Policy, compile_expression
from stepwell.wire.durations import sleep_until_ms
from stepwell.wire.ids import UNTARGETED_STEP, EventId, RunId
from stepwell.wire.lifecycle import CANCELLED_EVENT, FAILED_EVENT, FINISHED_EVENT
from stepwell.wire.outcomes import made_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.state import Job
    from stepwell.engine.turn import Turn
    from stepwell.wire.functions import Cancel

DEDUP_MS = 24 * 3_600_000
"""A function starts once for a producer's event id in this time."""

YEAR_MS = 366 * 86_400_000

_QUIET_TRIGGERS = frozenset({FINISHED_EVENT, FAILED_EVENT})


def receive_event(
    turn: Turn,
    row: PutEvent,
    *,
    event: Callable[[], Mapping[str, Any]],
    dedup_key: str | None = None,
    started: Callable[[int, str], bool] = lambda _no, _key: False,
    target: FunctionEntry | None = None,
    parent: tuple[RunId, str] | None = None,
) -> list[Run]:
    """Store an event and start the runs that it triggers; gives those.

    Args:
        row: The event's row, without `runs`.
        event: Gives the whole event, decoded, for expressions.
        dedup_key: The producer's id: a function starts once for it in 24 hours.
        started: Whether an earlier turn did so.
        target: A function that starts whatever its triggers say.
        parent: The run, and its step, that invoked the target.
    """
    note_watched(turn, row.event_id, row.name)
    entries = turn.owner.catalog.started_by(row.name, event, turn.now_ms)
    if target is not None:
        entries = [target, *(entry for entry in entries if entry is not target)]
    runs: list[Run] = []
    for entry in entries:
        if dedup_key is not None:
            key = (entry.no, dedup_key)
            if key in turn.started or started(*key):
                continue
        run = new_run(turn, entry, row, event, parent=parent if entry is target else None)
        runs.append(run)
        if dedup_key is not None:
            turn.started[entry.no, dedup_key] = run.run_id
            turn.writes.append(
                PutDedup(
                    function_no=entry.no,
                    key=dedup_key,
                    run_id=run.run_id,
                    expires_at_ms=turn.now_ms + DEDUP_MS,
                )
            )
    run_ids = tuple([run.run_id for run in runs])
    turn.writes.append(msgspec.structs.replace(row, runs=run_ids) if runs else row)
    return runs


def start_late(turn: Turn, row: PutEvent, event: Mapping[str, Any]) -> None:
    """Start what an event triggers that was stored before its data was at hand."""
    entries = turn.owner.catalog.started_by(row.name, lambda: event, turn.now_ms)
    runs = [new_run(turn, entry, row, lambda: event) for entry in entries]
    if runs:
        run_ids = tuple(run.run_id for run in runs)
        turn.writes.append(SetEventRuns(event_id=row.event_id, runs=run_ids))


def note_watched(turn: Turn, event_id: EventId, name: str, *, starts: bool = False) -> None:
    """Have the event looked at in a later turn, if runs watch for it.

    It comes before what the event starts: those runs do not watch for their own trigger.
    """
    if starts or turn.owner.watches.has(name):
        turn.put_errand(MatchEvent(event_id, starts))


def new_run(
    turn: Turn,
    entry: FunctionEntry,
    row: PutEvent,
    event: Callable[[], Mapping[str, Any]],
    *,
    parent: tuple[RunId, str] | None = None,
) -> Run:
    """Queue a run of a function for an event."""
    owner = turn.owner
    now_ms = turn.now_ms
    state = RunState(
        quiet=row.name in _QUIET_TRIGGERS,
        parent=parent,
        after_cancelled=row.name == CANCELLED_EVENT,
    )
    run = Run(
        run_id=RunId(owner.ids.ulid(now_ms)),
        function_no=entry.no,
        event_id=row.event_id,
        status=RunStatus.SCHEDULED,
        started_at_ms=None,
        state=state,
        stored=False,
    )
    turn.change(run)
    config = entry.config
    try:
        for cancel in config.cancels:
            _watch_cancel(turn, run, cancel, event)
    except ExpressionError as error:
        # Rather than a run that nobody can cancel as its function says.
        message = f"Cancel on {cancel.event}: {error.message}"
        name = "InvalidExpression"
        turn.fail_run(run, made_error(name, message, error=f"{name}: {message}"))
        return run
    begins_ms = max(now_ms, row.ts_ms)  # an event may lie in the future
    if config.start_timeout_ms is not None:
        state.deadlines.append(Deadline(finish=False, due_ms=begins_ms + config.start_timeout_ms))
    job = turn.new_job(run, UNTARGETED_STEP, 0)
    if begins_ms > now_ms:
        job.phase = Phase.WAITING
        job.due_ms = begins_ms
    _hold(turn, run, job)
    return run


def _hold(turn: Turn, run: Run, job: Job) -> None:
    """Keep a new run in memory, if it has its turn soon or a time of it comes soon."""
    owner = turn.owner
    horizon_ms = owner.timers.horizon_ms
    waits = job.phase is Phase.WAITING
    is_soon = any(deadline.due_ms <= horizon_ms for deadline in run.state.deadlines)
    # The backlog must be asked of every run that is queued: it counts them.
    has_place = job.due_ms <= horizon_ms if waits else owner.backlog.admits(run)
    if not has_place and not is_soon:
        return
    owner.runs[run.run_id] = run
    if waits:
        owner.timers.push(run, job)
    else:
        owner.backlog.push(run, job)
    for deadline in run.state.deadlines:
        owner.timers.push(run, deadline)


def _watch_cancel(
    turn: Turn, run: Run, cancel: Cancel, event: Callable[[], Mapping[str, Any]]
) -> None:
    condition = None
    if cancel.expression is not None:
        condition = compile_expression(cancel.expression, policy=Policy.RESTRICTED)
        condition = condition.interpolate(event())
        if condition.is_false():
            return
    until_ms = turn.now_ms + YEAR_MS
    if cancel.timeout is not None:
        until_ms = sleep_until_ms(cancel.timeout, turn.now_ms)
    path, value = place_of(condition)
    watch_id = turn.owner.ids.ulid(turn.now_ms)
    run.state.cancels.append(
        CancelOn(
            event=cancel.event,
            watch_id=watch_id,
            until_ms=until_ms,
            path=path,
            value=value,
            expression=None if condition is None else condition.text,
        )
    )
    turn.put_watch(
        PutWatch(
            kind=WatchKind.EVENT,
            subject=cancel.event,
            path=path,
            value=value,
            watch_id=watch_id,
            run_id=run.run_id,
        )
    )
