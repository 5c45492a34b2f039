"""Steps that wait for an event or a signal: how the waiting begins, and what ends it.

Source: docs/reference/wire/waits.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.errands import MatchEvent
from stepwell.engine.rows import HistoryKind, PutWatch, RunStatus, StepKind, WatchKind
from stepwell.engine.starting import start_late
from stepwell.engine.state import Wait, WaitKind
from stepwell.engine.watches import place_of
from stepwell.expressions import compile_expression
from stepwell.wire.durations import format_iso_ms
from stepwell.wire.ids import UNTARGETED_STEP, ulid_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepwell.engine.inputs import EventMatched
    from stepwell.engine.state import CancelOn, Run
    from stepwell.engine.turn import Turn
    from stepwell.expressions import Expression

CONDITION_WORK_MAX = 1_000_000
"""When the conditions of a turn took so much work, about 0.1 s, the others wait for the next one.
At least one is asked in each turn."""

_READING_WORK = 60
"""To read a character of a condition, in the unit of evaluations: 6 us."""

_TIMED_OUT = b"null"
INVOKE_TIMED_OUT = msgspec.json.encode(
    {
        "error": "InngestInvokeTimeoutError: Timed out waiting for invoked function to complete",
        "message": "Timed out waiting for invoked function to complete",
        "name": "InngestInvokeTimeoutError",
    }
)


def is_known(run: Run, step_id: str) -> bool:
    """Whether the step is over, or something is to bring its outcome already: a report that comes
    again, or one of parallel calls, says so more than once."""
    state = run.state
    return (
        step_id in run.steps
        or any(wait.step_id == step_id for wait in state.waits)
        or any(sleep.step_id == step_id for sleep in state.sleeps)
        or any(job.seeks(step_id) for job in state.jobs)
    )


def start_event_wait(
    turn: Turn,
    run: Run,
    *,
    step_id: str,
    name: str,
    event: str,
    condition: Expression | None,
    until_ms: int,
) -> None:
    """Wait for an event under a condition, which says nothing of the run's own event any more."""
    path, value = place_of(condition)
    wait = Wait(
        step_id=step_id,
        name=name,
        started_ms=turn.now_ms,
        due_ms=until_ms,
        kind=WaitKind.EVENT,
        subject=event,
        watch_id=turn.owner.ids.ulid(turn.now_ms),
        path=path,
        value=value,
        expression=None if condition is None else condition.text,
    )
    told = {"event": event, "until": format_iso_ms(until_ms)}
    if wait.expression is not None:
        told["if"] = wait.expression
    turn.put_history(
        run, HistoryKind.WAIT_STARTED, step_id, 0, msgspec.json.encode(told), name=name
    )
    _begin(turn, run, wait, WatchKind.EVENT)


def start_signal_wait(
    turn: Turn, run: Run, *, step_id: str, name: str, signal: str, until_ms: int
) -> None:
    """Wait for a signal. Nobody else waits for it, or their watch was deleted."""
    wait = Wait(
        step_id=step_id,
        name=name,
        started_ms=turn.now_ms,
        due_ms=until_ms,
        kind=WaitKind.SIGNAL,
        subject=signal,
        watch_id=turn.owner.ids.ulid(turn.now_ms),
    )
    told = {"signal": signal, "until": format_iso_ms(until_ms)}
    turn.put_history(
        run, HistoryKind.SIGNAL_WAIT_STARTED, step_id, 0, msgspec.json.encode(told), name=name
    )
    _begin(turn, run, wait, WatchKind.SIGNAL)
    turn.signals[signal] = (run, wait)


def _begin(turn: Turn, run: Run, wait: Wait, kind: WatchKind) -> None:
    add_wait(turn, run, wait)
    turn.put_watch(
        PutWatch(
            kind=kind,
            subject=wait.subject,
            path=wait.path,
            value=wait.value,
            watch_id=wait.watch_id,
            run_id=run.run_id,
        )
    )


def add_wait(turn: Turn, run: Run, wait: Wait) -> None:
    """The run waits for this, or for its time."""
    run.state.waits.append(wait)
    turn.owner.timers.push(run, wait)
    turn.change(run)


def time_out(turn: Turn, run: Run, wait: Wait) -> None:
    """What was waited for did not come in time."""
    match wait.kind:
        case WaitKind.EVENT:
            turn.finish_waiting_step(run, wait, StepKind.EVENT, _TIMED_OUT)
        case WaitKind.SIGNAL:
            turn.finish_waiting_step(run, wait, StepKind.SIGNAL_TIMEOUT, _TIMED_OUT)
        case WaitKind.INVOKE:
            turn.finish_waiting_step(run, wait, StepKind.FAILED, INVOKE_TIMED_OUT)


def signal_arrived(turn: Turn, run: Run, wait: Wait, data: bytes) -> None:
    """Go on with a signal."""
    memo = b'{"data":%b,"signal":%b}' % (data, msgspec.json.encode(wait.subject))
    turn.finish_waiting_step(run, wait, StepKind.SIGNAL, memo)


def event_matched(turn: Turn, item: EventMatched) -> None:
    """An event and the watches that it may concern: go on, or be cancelled, where it does. It may
    also start functions whose conditions could not be asked before."""
    owner = turn.owner
    for _watch_id, run_id in item.found:
        if (run := owner.runs.get(run_id)) is not None:
            turn.looked_at(run)
    if turn.condition_work >= CONDITION_WORK_MAX:
        return  # the errand stays as it is
    if item.row is not None:
        start_late(turn, item.row, item.event)
    came_ms = ulid_ms(item.errand_id)  # A slow disk takes nothing from a wait's time.
    more, after = item.more, b""
    for watch_id, run_id in item.found:
        if after and turn.condition_work >= CONDITION_WORK_MAX:
            more = True
            break
        after = watch_id
        run = owner.runs.get(run_id)
        if run is None or run.status.is_over:
            continue
        owner.at_work = run_id
        for wait in run.state.waits:
            if wait.watch_id == watch_id:
                if wait.due_ms > came_ms and _holds(turn, wait, item.event):
                    turn.finish_waiting_step(run, wait, StepKind.EVENT, item.event_json)
                break
        else:
            _cancel_on(turn, run, watch_id, came_ms, item.event)
    owner.at_work = None
    if after and more:
        errand = MatchEvent(item.event_id, after=after)
        turn.writes.append(owner.errands.put(item.errand_id, errand))
    else:
        turn.writes.append(owner.errands.done(item.errand_id))


def _cancel_on(
    turn: Turn, run: Run, watch_id: bytes, came_ms: int, event: Mapping[str, Any]
) -> None:
    for cancel in run.state.cancels:
        if cancel.watch_id == watch_id:
            if cancel.until_ms > came_ms and _holds(turn, cancel, event):
                cancel_run(turn, run, "an event", event=str(event["name"]))
            return


def cancel_run(turn: Turn, run: Run, reason: str, *, event: str | None = None) -> None:
    """End a run because somebody, or its own configuration, wants so."""
    told = {"reason": reason} if event is None else {"event": event, "reason": reason}
    turn.put_history(run, HistoryKind.CANCELLED, UNTARGETED_STEP, 0, msgspec.json.encode(told))
    turn.end_run(run, RunStatus.CANCELLED, None)


def _holds(turn: Turn, watch: Wait | CancelOn, event: Mapping[str, Any]) -> bool:
    if watch.expression is None:
        return True
    condition = compile_expression(watch.expression)
    holds, work = condition.weigh({"async": event}, now_ms=turn.now_ms)
    turn.condition_work += work + _READING_WORK * len(watch.expression)
    return holds
