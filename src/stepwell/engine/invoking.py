"""A step that runs another function: the event that starts it, and what comes back.

Source: docs/reference/wire/waits.md, "invoke".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.rows import HistoryKind, PutEvent, RunStatus, StepKind
from stepwell.engine.starting import receive_event
from stepwell.engine.state import Wait, WaitKind
from stepwell.engine.waits import add_wait
from stepwell.wire.durations import format_iso_ms
from stepwell.wire.ids import EventId, ulid_text
from stepwell.wire.lifecycle import FAILED_CALL, INVOKED_EVENT, error_object

if TYPE_CHECKING:
    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.inputs import ChildEnded
    from stepwell.engine.state import Run
    from stepwell.engine.turn import Turn
    from stepwell.wire.ids import RunId


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What the invoked function gets."""

    data: dict[str, msgspec.Raw] | None = None
    user: dict[str, msgspec.Raw] | None = None
    v: str | None = None


def start_invoke(
    turn: Turn,
    run: Run,
    *,
    step_id: str,
    name: str,
    target: FunctionEntry,
    payload: Payload,
    until_ms: int,
) -> None:
    """Start the function and wait for its end."""
    wait = Wait(
        step_id=step_id,
        name=name,
        started_ms=turn.now_ms,
        due_ms=until_ms,
        kind=WaitKind.INVOKE,
        subject=target.slug,
        watch_id=turn.owner.ids.ulid(turn.now_ms),
    )
    caller = turn.owner.catalog.by_no(run.function_no)
    assert caller is not None, "functions are archived, never deleted"
    row = invocation(
        turn,
        payload,
        {
            "correlation_id": f"{ulid_text(run.run_id)}.{step_id}",
            "expire": until_ms,
            "fn_id": target.slug,
            "name": name,
            "source_app_id": caller.app_name,
            "source_fn_id": caller.slug,
            "source_fn_v": caller.version,
        },
    )
    child = start_target(turn, row, target, parent=(run.run_id, step_id))
    told = {
        "event": ulid_text(row.event_id),
        "function": target.slug,
        "run": ulid_text(child.run_id),
        "until": format_iso_ms(until_ms),
    }
    turn.put_history(
        run, HistoryKind.INVOKE_STARTED, step_id, 0, msgspec.json.encode(told), name=name
    )
    add_wait(turn, run, wait)


def invocation(turn: Turn, payload: Payload, about: dict[str, object]) -> PutEvent:
    """The event of an invocation; `about` is what it says of itself under `_inngest`."""
    data = dict(payload.data or {})
    data["_inngest"] = msgspec.Raw(msgspec.json.encode(about))
    return PutEvent(
        event_id=EventId(turn.owner.ids.ulid(turn.now_ms)),
        name=INVOKED_EVENT,
        ts_ms=turn.now_ms,
        data=msgspec.json.encode(data),
        user=None if payload.user is None else msgspec.json.encode(payload.user),
        v=payload.v,
    )


def start_target(
    turn: Turn, row: PutEvent, target: FunctionEntry, *, parent: tuple[RunId, str] | None = None
) -> Run:
    """Store an invocation and start the function that it is for, and those that its name triggers.

    Returns:
        The run of that function.
    """

    def event() -> dict[str, object]:
        return {
            "name": row.name,
            "id": ulid_text(row.event_id),
            "ts": row.ts_ms,
            "data": msgspec.json.decode(row.data),
            "user": msgspec.json.decode(row.user or b"{}"),
        }

    return receive_event(turn, row, event=event, target=target, parent=parent)[0]


def child_ended(turn: Turn, item: ChildEnded) -> None:
    """The run that a step invoked is over: the step has its outcome."""
    turn.writes.append(turn.owner.errands.done(item.errand_id))
    run = turn.owner.runs.get(item.parent)
    if run is None or run.status.is_over:
        return
    turn.owner.at_work = run.run_id
    turn.looked_at(run)
    for wait in run.state.waits:
        if wait.kind is WaitKind.INVOKE and wait.step_id == item.step_id:
            kind, data = _result(wait, item)
            turn.finish_waiting_step(run, wait, kind, data)
            break


def fail_invoke(turn: Turn, run: Run, *, step_id: str, name: str, function: str) -> None:
    """There is no such function: the step fails at once."""
    told = msgspec.json.encode({"function": function})
    turn.put_history(run, HistoryKind.INVOKE_STARTED, step_id, 0, told, name=name)
    message = f"could not find function with ID: {function}"
    error = msgspec.json.encode({"error": message, "message": message, "name": "Error"})
    position = turn.put_step(
        run,
        step_id=step_id,
        kind=StepKind.FAILED,
        name=name,
        data=error,
        attempt=0,
        started_at_ms=turn.now_ms,
    )
    turn.finish_step(run, step_id, position)


def _result(wait: Wait, item: ChildEnded) -> tuple[StepKind, bytes]:
    match item.status:
        case RunStatus.COMPLETED:
            return StepKind.INVOKE, item.output or b"null"
        case RunStatus.FAILED:
            return StepKind.FAILED, error_object(item.output or b"{}", FAILED_CALL)
        case RunStatus.CANCELLED:
            what = "was cancelled"
        case RunStatus.SKIPPED:
            what = "was skipped"
        case _:
            what = "is gone"
    message = f"the run of {wait.subject} that this step invoked {what}"
    name = "InvokedRunCancelled" if item.status is RunStatus.CANCELLED else "InvokedRunLost"
    return StepKind.FAILED, msgspec.json.encode(
        {"error": f"{name}: {message}", "message": message, "name": name}
    )
