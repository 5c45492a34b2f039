"""One call of a function, without a server: memos in, outcome out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.context import Context, ContextSync
from stepwell.event import Event
from stepwell.execution import Execution, run_async, run_sync
from stepwell.group import Group, GroupSync
from stepwell.step import Step
from stepwell.step_sync import StepSync
from stepwell.wire.ids import hash_step_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from stepwell.checkpointer import Checkpointer
    from stepwell.outcome import Outcome

EVENT = Event(name="order/paid", data={"total": 12})
LOGGER = logging.getLogger("tests")


class Sent:
    """Stands for the event API: takes events, gives ids."""

    def __init__(self, error: Exception | None = None) -> None:
        self.batches: list[list[Event]] = []
        self.signals: list[tuple[str, object]] = []
        self._error = error

    async def send(self, events: Event | Sequence[Event]) -> list[str]:
        return self.send_sync(events)

    def send_sync(self, events: Event | Sequence[Event]) -> list[str]:
        if self._error is not None:
            raise self._error
        batch = [events] if isinstance(events, Event) else list(events)
        self.batches.append(batch)
        return [f"id-{number}" for number in range(len(batch))]

    async def signal(self, signal: str, data: object) -> bool:
        return self.signal_sync(signal, data)

    def signal_sync(self, signal: str, data: object) -> bool:
        if self._error is not None:
            raise self._error
        self.signals.append((signal, data))
        return signal != "nobody"


def memos(**steps: Any) -> dict[str, Any]:
    """Remembered results by step id; `first__1` stands for the second use of `first`."""
    found = {}
    for name, memo in steps.items():
        step_id, _, index = name.partition("__")
        found[hash_step_id(step_id, int(index or 0))] = memo
    return found


def execution(
    steps: Mapping[str, Any] | None = None,
    *,
    target: str | None = None,
    attempt: int = 0,
    max_attempts: int = 4,
    plan_only: bool = False,
    stack: Sequence[str] = (),
    deferred: Sequence[str] = (),
    checkpointer: Checkpointer | None = None,
) -> Execution:
    """An execution; `target`, `stack` and `deferred` are ids of steps, not their hashes."""
    raw = {key: msgspec.Raw(msgspec.json.encode(memo)) for key, memo in (steps or {}).items()}
    return Execution(
        steps=raw,
        target=None if target is None else hash_step_id(target),
        attempt=attempt,
        max_attempts=max_attempts,
        plan_only=plan_only,
        stack=[hash_step_id(step_id) for step_id in stack],
        deferred=[hash_step_id(step_id) for step_id in deferred],
        checkpointer=checkpointer,
    )


def call_async(
    handler: Callable[[Context[Any]], Awaitable[Any]],
    steps: Mapping[str, Any] | None = None,
    *,
    sent: Sent | None = None,
    **options: Any,
) -> Outcome:
    """What one call of an async function ends with."""
    state = execution(steps, **options)
    ctx = Context(
        event=EVENT,
        events=[EVENT],
        run_id="run-1",
        attempt=options.get("attempt", 0),
        logger=LOGGER,
        step=Step(state, sent or Sent(), "shop"),
        group=Group(state),
    )

    async def bounded() -> Outcome:
        async with asyncio.timeout(5):
            return await run_async(state, handler, ctx)

    return asyncio.run(bounded())


def call_sync(
    handler: Callable[[ContextSync[Any]], Any],
    steps: Mapping[str, Any] | None = None,
    *,
    sent: Sent | None = None,
    **options: Any,
) -> Outcome:
    """What one call of a sync function ends with."""
    state = execution(steps, **options)
    ctx = ContextSync(
        event=EVENT,
        events=[EVENT],
        run_id="run-1",
        attempt=options.get("attempt", 0),
        logger=LOGGER,
        step=StepSync(state, sent or Sent(), "shop"),
        group=GroupSync(state),
    )
    return run_sync(state, handler, ctx)


def call_both(
    asked: Callable[[Any], Any], steps: Mapping[str, Any] | None = None, **options: Any
) -> Outcome:
    """What a function ends with that gives what `asked(ctx)` gives: the same in both twins."""

    async def handler(ctx: Context[Any]) -> Any:
        return await asked(ctx)

    outcome = call_async(handler, steps, **options)
    twin = call_sync(asked, steps, **options)
    assert (twin.kind, twin.no_retry) == (outcome.kind, outcome.no_retry), twin
    if outcome.kind == "error":
        assert [error_of(each)["message"] for each in (outcome, twin)] == [
            error_of(outcome)["message"]
        ] * 2
    else:
        assert _without_stacks(twin) == _without_stacks(outcome)
    return outcome


def _without_stacks(outcome: Outcome) -> Any:
    decoded = msgspec.json.decode(outcome.body)
    if outcome.kind == "ops":
        for op in decoded:
            if op["error"] is not None:
                del op["error"]["stack"]
    return decoded


def ops_of(outcome: Outcome) -> list[dict[str, Any]]:
    """The operations of an outcome that must be some."""
    assert outcome.kind == "ops", outcome
    decoded: list[dict[str, Any]] = msgspec.json.decode(outcome.body)
    return decoded


def named(outcome: Outcome) -> list[tuple[str, str]]:
    """Each operation's kind and the user's id of its step."""
    return [(op["op"], op["userland"]["id"]) for op in ops_of(outcome)]


def result_of(outcome: Outcome) -> Any:
    """The result of an outcome that must be one."""
    assert outcome.kind == "result", outcome
    return msgspec.json.decode(outcome.body)


def error_of(outcome: Outcome) -> dict[str, Any]:
    """The error of an outcome that must be one."""
    assert outcome.kind == "error", outcome
    decoded: dict[str, Any] = msgspec.json.decode(outcome.body)
    return decoded
