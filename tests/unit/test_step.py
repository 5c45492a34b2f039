"""Sleeps, events and groups, as functions use them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from stepwell.errors import SendEventsError, StepError
from stepwell.event import Event
from stepwell.wire.durations import parse_duration_ms
from tests.unit.calls import (
    Sent,
    call_async,
    call_sync,
    error_of,
    memos,
    named,
    ops_of,
    result_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stepwell.context import Context, ContextSync
    from stepwell.outcome import Outcome

# --- sleep ---


def sleep_op(duration: int | timedelta) -> dict[str, Any]:
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep("nap", duration)

    def handler_sync(ctx: ContextSync) -> None:
        ctx.step.sleep("nap", duration)

    [op] = ops_of(call_async(handler))
    assert ops_of(call_sync(handler_sync)) == [op]
    return op


@pytest.mark.parametrize(
    ("duration", "ms"),
    [
        (0, 0),
        (1, 1),
        (1_500, 1_500),
        (90_000, 90_000),
        (timedelta(days=400, milliseconds=7), 400 * 86_400_000 + 7),
        (timedelta(weeks=1, hours=2), 7 * 86_400_000 + 7_200_000),
    ],
)
def test_sleep_sends_its_exact_time(duration: int | timedelta, ms: int) -> None:
    op = sleep_op(duration)

    assert (op["op"], op["displayName"]) == ("Sleep", "nap")
    assert parse_duration_ms(op["name"]) == ms


def test_sleep_is_readable() -> None:
    assert sleep_op(timedelta(hours=1, minutes=30))["name"] == "1h30m"


def test_slept_sleep_is_passed() -> None:
    async def handler(ctx: Context) -> str:
        await ctx.step.sleep("nap", 1)
        return "awake"

    def handler_sync(ctx: ContextSync) -> str:
        ctx.step.sleep("nap", 1)
        return "awake"

    assert result_of(call_async(handler, memos(nap=None))) == "awake"
    assert result_of(call_sync(handler_sync, memos(nap=None))) == "awake"


def test_negative_sleep_is_a_mistake() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep("nap", -1)

    outcome = call_async(handler)

    assert error_of(outcome)["code"] == "config_invalid"
    assert outcome.no_retry


def test_sleep_until_sends_the_instant_in_utc() -> None:
    at = datetime(2026, 8, 20, 12, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))

    async def handler(ctx: Context) -> None:
        await ctx.step.sleep_until("nap", at)

    def handler_sync(ctx: ContextSync) -> None:
        ctx.step.sleep_until("nap", at)

    [op] = ops_of(call_async(handler))
    assert (op["op"], op["name"]) == ("Sleep", "2026-08-20T10:00:00.123Z")
    assert ops_of(call_sync(handler_sync)) == [op]


def test_sleep_until_wants_an_aware_datetime() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep_until("nap", datetime(2026, 8, 20))  # noqa: DTZ001 - the mistake

    assert "tzinfo" in error_of(call_async(handler))["message"]


@pytest.mark.parametrize("duration", ["1h", 1.5, None, True])
def test_sleep_of_a_wrong_type_is_a_mistake(duration: Any) -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep("nap", duration)

    def handler_sync(ctx: ContextSync) -> None:
        ctx.step.sleep("nap", duration)

    for outcome in (call_async(handler), call_sync(handler_sync)):
        assert "whole milliseconds or a timedelta" in error_of(outcome)["message"]
        assert outcome.no_retry


def test_sleep_until_of_a_wrong_type_is_a_mistake() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep_until("nap", cast("datetime", "2026-08-20T12:00:00Z"))

    assert "aware datetime" in error_of(call_async(handler))["message"]


@pytest.mark.parametrize("step_id", ["", None, 1, b"a"])
def test_step_id_is_a_text(step_id: Any) -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.run(step_id, lambda: 1)

    def handler_sync(ctx: ContextSync) -> None:
        ctx.step.run(step_id, lambda: 1)

    for outcome in (call_async(handler), call_sync(handler_sync)):
        assert error_of(outcome)["message"].startswith("a step id is a text that is not empty")
        assert outcome.no_retry


def test_step_wants_a_function_and_not_its_result() -> None:
    async def charge() -> int:
        return 1

    async def handler(ctx: Context) -> None:
        await ctx.step.run("charge", cast("Any", charge()))

    def handler_sync(ctx: ContextSync) -> None:
        ctx.step.run("charge", cast("Any", 12))

    message = error_of(call_async(handler))["message"]
    assert message.startswith("step 'charge' needs a function and was given a coroutine")
    assert "was given a int" in error_of(call_sync(handler_sync))["message"]


def test_sleep_is_not_reported_by_a_call_for_another_step() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep("nap", 1)

    assert error_of(call_async(handler, target="other"))["code"] == "step_unexpected"


# --- send_event ---


async def sends(ctx: Context) -> list[str]:
    return await ctx.step.send_event("send", [Event(name="a"), Event(name="b")])


def sends_sync(ctx: ContextSync) -> list[str]:
    return ctx.step.send_event("send", [Event(name="a"), Event(name="b")])


def test_send_event_sends_and_remembers_the_ids() -> None:
    sent = Sent()

    [op] = ops_of(call_async(sends, sent=sent))

    assert op["op"] == "StepRun"
    assert op["opts"] == {"type": "step.sendEvent"}
    assert op["data"] == ["id-0", "id-1"]
    assert [event.name for event in sent.batches[0]] == ["a", "b"]
    assert ops_of(call_sync(sends_sync, sent=Sent())) == [op]


def test_sent_events_are_not_sent_again() -> None:
    sent = Sent()

    steps = memos(send={"data": ["id-0", "id-1"]})
    assert result_of(call_async(sends, steps, sent=sent)) == ["id-0", "id-1"]
    assert result_of(call_sync(sends_sync, steps, sent=sent)) == ["id-0", "id-1"]
    assert sent.batches == []


def test_events_that_cannot_be_sent_fail_the_step() -> None:
    [op] = ops_of(call_async(sends, sent=Sent(SendEventsError("refused"))))

    assert op["op"] == "StepError"
    assert op["error"]["name"] == "SendEventsError"


# --- groups ---


async def fan_out(ctx: Context) -> list[Any]:
    """Three branches; the second has two steps in a row, the third is a sleep."""

    async def chain() -> int:
        first = await ctx.step.run("b1", lambda: 10)
        return await ctx.step.run("b2", lambda: first + 1)

    results = await ctx.group.parallel(
        (lambda: ctx.step.run("a", lambda: 1), chain, lambda: ctx.step.sleep("c", 1000))
    )
    return list(results)


def fan_out_sync(ctx: ContextSync) -> list[Any]:
    def chain() -> int:
        first = ctx.step.run("b1", lambda: 10)
        return ctx.step.run("b2", lambda: first + 1)

    results = ctx.group.parallel(
        (lambda: ctx.step.run("a", lambda: 1), chain, lambda: ctx.step.sleep("c", 1000))
    )
    return list(results)


def fanned(steps: dict[str, Any] | None = None, **options: Any) -> Outcome:
    outcome = call_async(fan_out, steps, **options)
    twin = call_sync(fan_out_sync, steps, **options)
    assert twin.kind == outcome.kind
    if outcome.kind != "error":
        assert twin.body == outcome.body
    return outcome


def test_new_steps_of_a_group_are_planned_together() -> None:
    assert named(fanned()) == [("StepPlanned", "a"), ("StepPlanned", "b1"), ("Sleep", "c")]


def test_targeted_step_of_a_group_runs() -> None:
    assert named(fanned(target="b1", plan_only=True)) == [("StepRun", "b1")]


def test_targeted_step_behind_another_in_its_branch_runs() -> None:
    steps = memos(b1={"data": 10})

    outcome = fanned(steps, target="b2", plan_only=True)

    assert named(outcome) == [("StepRun", "b2")]
    assert ops_of(outcome)[0]["data"] == 11


def test_targeted_sleep_of_a_group_is_reported() -> None:
    assert named(fanned(target="c", plan_only=True)) == [("Sleep", "c")]


def test_only_new_step_of_a_group_runs_at_once() -> None:
    steps = memos(a={"data": 1}, b1={"data": 10}, c=None)

    assert named(fanned(steps)) == [("StepRun", "b2")]


def test_only_new_step_of_a_group_is_planned_in_plan_only_mode() -> None:
    steps = memos(a={"data": 1}, b1={"data": 10}, c=None)

    assert named(fanned(steps, plan_only=True)) == [("StepPlanned", "b2")]


def test_two_new_steps_of_a_group_are_planned() -> None:
    steps = memos(b1={"data": 10}, c=None)

    assert named(fanned(steps)) == [("StepPlanned", "a"), ("StepPlanned", "b2")]


def test_only_sleep_of_a_group_is_reported_alone() -> None:
    steps = memos(a={"data": 1}, b1={"data": 10}, b2={"data": 11})

    assert named(fanned(steps)) == [("Sleep", "c")]


def test_finished_group_gives_the_results_in_order() -> None:
    steps = memos(a={"data": 1}, b1={"data": 10}, b2={"data": 11}, c=None)

    assert result_of(fanned(steps)) == [1, 11, None]


def test_step_after_a_group_runs_when_the_group_has_ended() -> None:
    async def handler(ctx: Context) -> int:
        one, two = await ctx.group.parallel(
            (lambda: ctx.step.run("a", lambda: 1), lambda: ctx.step.run("b", lambda: 2))
        )
        return await ctx.step.run("sum", lambda: one + two)

    assert named(call_async(handler)) == [("StepPlanned", "a"), ("StepPlanned", "b")]
    steps = memos(a={"data": 1}, b={"data": 2})
    assert ops_of(call_async(handler, steps))[0]["data"] == 3


def test_bare_except_round_a_group_runs_nothing_after_it() -> None:
    async def handler(ctx: Context) -> str:
        try:
            await fan_out(ctx)
        except BaseException:
            await ctx.step.run("after", lambda: 1)
        return "went on"

    assert named(call_async(handler)) == named(fanned())


def test_second_pass_repeats_the_ids_of_the_first() -> None:
    """Ids that are used before, in and again within the group keep their numbers."""

    async def handler(ctx: Context) -> tuple[int, ...]:
        before = await ctx.step.run("x", lambda: 0)
        literal = await ctx.step.run("x:1", lambda: 0)
        inside = await ctx.group.parallel(
            (lambda: ctx.step.run("x", lambda: 0), lambda: ctx.step.run("x", lambda: 0))
        )
        return (before, literal, *inside)

    steps = memos(x={"data": 1}, x__2={"data": 3})
    steps |= memos(**{"x:1": {"data": 2}})
    [op] = ops_of(call_async(handler, steps))
    assert op["op"] == "StepRun"
    assert op["userland"] == {"id": "x", "index": 3}
    steps |= memos(x__3={"data": 4})
    assert result_of(call_async(handler, steps)) == [1, 2, 3, 4]


def test_second_pass_runs_the_step_inside_the_blocks_round_it() -> None:
    open_blocks: list[str] = []
    seen: list[list[str]] = []

    class Block:
        def __enter__(self) -> None:
            open_blocks.append("block")

        def __exit__(self, *_exc: object) -> None:
            open_blocks.pop()

    async def handler(ctx: Context) -> None:
        async def branch() -> None:
            with Block():
                await ctx.step.run("a", lambda: seen.append(list(open_blocks)))

        await ctx.group.parallel((branch,))

    assert named(call_async(handler)) == [("StepRun", "a")]
    assert seen == [["block"]]


def test_group_inside_a_branch_joins_the_outer_group() -> None:
    async def handler(ctx: Context) -> list[Any]:
        async def inner() -> tuple[int, int]:
            return await ctx.group.parallel(
                (lambda: ctx.step.run("b", lambda: 2), lambda: ctx.step.run("c", lambda: 3))
            )

        outer = await ctx.group.parallel((lambda: ctx.step.run("a", lambda: 1), inner))
        return list(outer)

    assert named(call_async(handler)) == [
        ("StepPlanned", "a"),
        ("StepPlanned", "b"),
        ("StepPlanned", "c"),
    ]
    assert named(call_async(handler, memos(a={"data": 1}, b={"data": 2}))) == [("StepRun", "c")]
    steps = memos(a={"data": 1}, b={"data": 2}, c={"data": 3})
    assert result_of(call_async(handler, steps)) == [1, [2, 3]]


def test_failed_step_in_a_group_waits_for_the_other_branches() -> None:
    async def handler(ctx: Context) -> str:
        try:
            await fan_out(ctx)
        except StepError as error:
            return f"caught {error}"
        return "not raised"

    failed = memos(a={"error": {"name": "E", "message": "m"}})
    assert named(call_async(handler, failed | memos(b1={"data": 1}, c=None))) == [("StepRun", "b2")]
    done = failed | memos(b1={"data": 1}, b2={"data": 2}, c=None)
    assert result_of(call_async(handler, done)) == "caught m"


def test_first_of_several_errors_in_a_group_is_raised() -> None:
    def branch(number: int) -> Any:
        raise ValueError(number)

    def handler(ctx: ContextSync) -> None:
        ctx.group.parallel((lambda: None, lambda: branch(1), lambda: branch(2)))

    assert error_of(call_sync(handler))["message"] == "1"


def test_empty_group_ends_at_once() -> None:
    async def handler(ctx: Context) -> list[Any]:
        return list(await ctx.group.parallel(()))

    assert result_of(call_async(handler)) == []


def test_branches_without_steps_give_their_values() -> None:
    async def handler(ctx: Context) -> list[int]:
        async def value(number: int) -> int:
            return number

        return list(await ctx.group.parallel([partial(value, n) for n in range(7)]))

    assert result_of(call_async(handler)) == list(range(7))


@pytest.mark.parametrize("target", ["a", "a:1", "a:1:1", "b", "c", "nap", "gone"])
@pytest.mark.parametrize("remembered", [{}, {"b": {"data": 1}}, {"a__1": {"data": 1}}])
@pytest.mark.parametrize("plan_only", [False, True])
def test_branch_that_is_a_step_is_passed_like_one_with_a_step_in_it(
    target: str, remembered: dict[str, Any], plan_only: bool
) -> None:
    async def handler(ctx: Context, *, wrapped: bool) -> list[Any]:
        def branch(step_id: str) -> Callable[[], Awaitable[Any]]:
            async def wrapper() -> Any:
                return await ctx.step.run(step_id, lambda: f"ran {step_id}")

            return wrapper if wrapped else lambda: ctx.step.run(step_id, lambda: f"ran {step_id}")

        steps = [branch(step_id) for step_id in ("a", "b", "a", "a:1", "c")]
        return list(await ctx.group.parallel([*steps, lambda: ctx.step.sleep("nap", 1_000)]))

    def outcome(*, wrapped: bool) -> Outcome:
        story = partial(handler, wrapped=wrapped)
        return call_async(story, memos(**remembered), target=target, plan_only=plan_only)

    assert outcome(wrapped=False) == outcome(wrapped=True)


def test_mistakes_in_a_group_are_told_by_a_call_for_one_step_too() -> None:
    async def no_text(ctx: Context) -> None:
        await ctx.group.parallel((lambda: ctx.step.run(cast("str", ["a"]), int),))

    async def nested(ctx: Context) -> None:
        async def body() -> None:
            await ctx.group.parallel((lambda: later,))

        outer = ctx.step.run("a", body)
        later = ctx.step.run("later", int)
        await outer

    for target in (None, "a"):
        assert "['a']" in error_of(call_async(no_text, target=target))["message"]
        assert error_of(call_async(nested, target=target))["code"] == "step_nested"


def test_remembered_branches_are_no_obstacle_to_a_call_for_a_later_step() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.group.parallel((lambda: ctx.step.run("a", int), lambda: ctx.step.run("b", int)))
        await ctx.group.parallel((lambda: ctx.step.run("c", int), lambda: ctx.step.run("d", int)))

    steps = memos(a={"data": 1}, b={"data": 2})
    assert named(call_async(handler, steps, target="d")) == [("StepRun", "d")]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_branch_that_is_more_than_the_step_it_was_made_with_is_not_passed() -> None:
    async def handler(ctx: Context) -> None:
        async def behind(step: Awaitable[Any]) -> None:
            await ctx.step.run("first", int)
            await step

        await ctx.group.parallel((lambda: behind(ctx.step.run("second", int)),))

    assert named(call_async(handler, target="first")) == [("StepRun", "first")]


# --- races ---


async def race_of_a_pair(ctx: Context) -> str:
    async def pair() -> str:
        await ctx.group.parallel((lambda: ctx.step.run("a", int), lambda: ctx.step.run("b", int)))
        return "pair"

    return await ctx.group.race((pair, lambda: ctx.step.run("c", str)))


async def race_of_a_race(ctx: Context) -> str:
    async def first() -> str:
        await ctx.group.race((lambda: ctx.step.run("a", int), lambda: ctx.step.run("b", int)))
        return "pair"

    return await ctx.group.race((first, lambda: ctx.step.run("c", str)))


@pytest.mark.parametrize(
    ("handler", "stack", "winner"),
    [
        (race_of_a_pair, ["c"], "c"),
        (race_of_a_pair, ["c", "a", "b"], "c"),
        (race_of_a_pair, ["a", "c", "b"], "c"),
        (race_of_a_pair, ["a", "b", "c"], "pair"),
        (race_of_a_race, ["c", "a", "b"], "c"),
        (race_of_a_race, ["a", "c", "b"], "pair"),
        (race_of_a_race, ["b", "a", "c"], "pair"),
    ],
)
def test_group_inside_a_race_ends_with_its_steps(
    handler: Callable[[Context], Awaitable[str]], stack: list[str], winner: str
) -> None:
    steps = memos(**{step_id: {"data": step_id} for step_id in stack})

    assert result_of(call_async(handler, steps, stack=stack)) == winner


def test_instant_that_is_past_is_sent_as_it_is() -> None:
    """The server knows what now is."""

    async def handler(ctx: Context) -> None:
        await ctx.step.sleep_until("past", datetime(1970, 1, 1, tzinfo=UTC))

    assert ops_of(call_async(handler))[0]["name"] == "1970-01-01T00:00:00.000Z"
