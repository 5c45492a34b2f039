"""From a call that a server sent to what the program's function gets, whatever carried it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.context import Context, ContextSync
from stepwell.event import Event, read_event
from stepwell.execution import Execution
from stepwell.group import Group, GroupSync
from stepwell.step import Step
from stepwell.step_sync import StepSync

if TYPE_CHECKING:
    from stepwell.checkpointer import Checkpointer
    from stepwell.client import Client
    from stepwell.function import Function
    from stepwell.wire.calls import Call


def execution_of(
    call: Call, step_id: str | None, checkpointer: Checkpointer | None = None
) -> Execution:
    """The state of a call.

    Args:
        step_id: The step that it is for, as told beside it; None: as it says itself.
        checkpointer: Takes its finished steps, if the function has checkpointing.
    """
    ctx = call.ctx
    # A server that does not say how many attempts there are decides itself which was the last.
    max_attempts = ctx.attempt + 2 if ctx.max_attempts is None else ctx.max_attempts
    return Execution(
        steps=call.steps,
        target=ctx.step_id if step_id is None else step_id,
        attempt=ctx.attempt,
        max_attempts=max_attempts,
        plan_only=ctx.disable_immediate_execution,
        stack=ctx.stack,
        deferred=call.defers,
        checkpointer=checkpointer,
    )


def context_of(
    call: Call, execution: Execution, client: Client, function: Function[Any]
) -> Context[Any]:
    """What an async function is called with.

    Raises:
        StepwellError: `event_data_invalid`, if the event does not have the declared type.
    """
    event, events = _events(call, function)
    return Context(
        event=event,
        events=events,
        run_id=call.ctx.run_id,
        attempt=call.ctx.attempt,
        logger=client.logger,
        step=Step(execution, client, client.app_id),
        group=Group(execution),
    )


def context_sync_of(
    call: Call, execution: Execution, client: Client, function: Function[Any]
) -> ContextSync[Any]:
    """What a sync function is called with. Raises like `context_of`."""
    event, events = _events(call, function)
    return ContextSync(
        event=event,
        events=events,
        run_id=call.ctx.run_id,
        attempt=call.ctx.attempt,
        logger=client.logger,
        step=StepSync(execution, client, client.app_id),
        group=GroupSync(execution),
    )


def _events(call: Call, function: Function[Any]) -> tuple[Event[Any], list[Event[Any]]]:
    """The event and all events; mostly they are the same one, and it is read once."""
    event: Event[Any] = read_event(call.event)
    event = function.typed(event)
    raws = call.events or []
    if len(raws) == 1 and raws[0] == call.event:
        return event, [event]
    return event, [function.typed(read_event(raw)) for raw in raws] or [event]
