"""A step that is called and never awaited fails the run, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import StepError
from tests.unit.calls import call_async, call_sync, error_of, memos, named, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.context import Context, ContextSync

NOON = datetime(2026, 8, 20, 12, tzinfo=UTC)

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


# --- what is found ---


def forgotten(call: Callable[[Context], object]) -> Any:
    """The message of a run whose function forgets the `await` of one call."""

    async def handler(ctx: Context) -> str:
        call(ctx)
        return "as if nothing was wrong"

    outcome = call_async(handler)
    error = error_of(outcome)
    assert error["code"] == "step_not_awaited"
    assert outcome.no_retry
    return error["message"]


def test_every_operation_wants_its_await() -> None:
    assert "`await ctx.step.run('a', ...)`" in forgotten(lambda ctx: ctx.step.run("a", int))
    assert "`await ctx.step.sleep('a', ...)`" in forgotten(lambda ctx: ctx.step.sleep("a", 1))
    assert "ctx.step.sleep_until" in forgotten(lambda ctx: ctx.step.sleep_until("a", NOON))
    assert "ctx.step.send_event" in forgotten(lambda ctx: ctx.step.send_event("a", []))
    assert "`await ctx.group.parallel(...)`" in forgotten(lambda ctx: ctx.group.parallel(()))


def test_remembered_step_wants_its_await_too() -> None:
    async def handler(ctx: Context) -> None:
        ctx.step.run("a", int)  # type: ignore[unused-coroutine]

    assert error_of(call_async(handler, memos(a={"data": 1})))["code"] == "step_not_awaited"


def test_later_steps_do_not_run() -> None:
    ran = []

    async def handler(ctx: Context) -> None:
        ctx.step.run("charge", int)  # type: ignore[unused-coroutine]
        await ctx.step.run("mail", lambda: ran.append("mail"))

    assert "step 'charge'" in error_of(call_async(handler))["message"]
    assert ran == []


def test_later_steps_of_a_group_do_not_run() -> None:
    ran = []

    async def handler(ctx: Context) -> None:
        async def branch() -> None:
            ctx.step.run("charge", int)  # type: ignore[unused-coroutine]

        await ctx.group.parallel((branch, lambda: ctx.step.run("b", lambda: ran.append("b"))))

    assert "step 'charge'" in error_of(call_async(handler))["message"]
    assert ran == []


def test_call_that_is_kept_in_a_variable_is_found() -> None:
    async def handler(ctx: Context) -> None:
        order = ctx.step.run("load", str)
        print(order)

    assert "step 'load'" in error_of(call_async(handler))["message"]


def test_call_that_is_returned_is_found() -> None:
    async def handler(ctx: Context) -> Any:
        return ctx.step.run("load", dict)

    def handler_sync(_ctx: ContextSync) -> Any:
        return asyncio.sleep(0)  # an async function behind a decorator that is not

    for outcome in (call_async(handler), call_sync(handler_sync)):
        assert error_of(outcome)["code"] == "step_not_awaited"
        assert outcome.no_retry


@pytest.mark.parametrize("target", [None, "a"])
def test_body_of_a_step_is_watched_whatever_the_call_is_for(target: str | None) -> None:
    """Of a group, no other call runs it."""

    async def handler(ctx: Context) -> None:
        def body() -> None:
            ctx.step.run("inner", int)  # type: ignore[unused-coroutine]

        group = (lambda: ctx.step.run("a", body), lambda: ctx.step.run("b", int))
        await ctx.group.parallel(group if target else group[:1])

    assert "step 'inner'" in error_of(call_async(handler, target=target))["message"]


def test_call_for_one_step_passes_what_the_next_call_finds() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.group.parallel((lambda: ctx.step.run("a", int), lambda: ctx.step.run("b", int)))
        ctx.step.run("lost", int)  # type: ignore[unused-coroutine]

    assert named(call_async(handler, memos(a={"data": 0}), target="b")) == [("StepRun", "b")]
    done = memos(a={"data": 0}, b={"data": 0})
    assert "step 'lost'" in error_of(call_async(handler, done))["message"]


# --- what is not taken for one ---


def test_error_of_the_function_is_told_instead() -> None:
    """It may be why the step was not awaited: here the first coroutine is made and dropped."""

    async def handler(ctx: Context) -> None:
        order: dict[str, int] = {}
        await asyncio.gather(ctx.step.run("a", int), ctx.step.sleep("b", order["wait"]))

    outcome = call_async(handler)

    assert error_of(outcome)["name"] == "KeyError"
    assert not outcome.no_retry


def test_tasks_gather_and_wait_for_count_as_awaiting() -> None:
    async def handler(ctx: Context) -> list[Any]:
        first = asyncio.create_task(ctx.step.run("a", int))
        second = await asyncio.wait_for(ctx.step.run("b", int), 5)
        third, fourth = await asyncio.gather(ctx.step.run("c", int), ctx.step.sleep("d", 1))
        async with asyncio.TaskGroup() as tasks:
            fifth = tasks.create_task(ctx.step.run("e", int))
        return [await first, second, third, fourth, fifth.result()]

    steps = memos(a={"data": 1}, b={"data": 2}, c={"data": 3}, d=None, e={"data": 5})
    assert result_of(call_async(handler, steps)) == [1, 2, 3, None, 5]
    assert named(call_async(handler)) == [("StepRun", "a")]


@pytest.mark.parametrize("turns", [0, 1])
def test_task_that_is_cancelled_is_no_mistake(turns: int) -> None:
    async def handler(ctx: Context) -> str:
        task = asyncio.create_task(ctx.step.run("slow", asyncio.Event().wait))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        del task
        return "went on"

    assert result_of(call_async(handler)) == "went on"


def test_deadline_that_has_passed_is_no_mistake() -> None:
    async def handler(ctx: Context) -> str:
        try:
            await asyncio.wait_for(ctx.step.run("slow", asyncio.Event().wait), 0)
        except TimeoutError:
            return "went on"
        return "in time"

    assert result_of(call_async(handler)) == "went on"


def test_call_that_is_closed_on_purpose_is_no_mistake() -> None:
    async def handler(ctx: Context) -> str:
        unwanted = ctx.step.run("a", int)
        unwanted.close()
        return "went on"

    assert result_of(call_async(handler)) == "went on"


def test_step_that_leaves_the_function_excuses_the_calls_before_it() -> None:
    async def handler(ctx: Context) -> None:
        later = ctx.step.run("later", int)
        await ctx.step.run("now", int)
        await later

    assert named(call_async(handler)) == [("StepRun", "now")]


def test_step_that_leaves_a_branch_excuses_the_calls_before_it() -> None:
    async def handler(ctx: Context) -> None:
        async def branch(name: str) -> None:
            later = ctx.step.run(f"{name}2", int)
            await ctx.step.run(name, int)
            await later

        await ctx.group.parallel((lambda: branch("a"), lambda: branch("b")))

    assert named(call_async(handler)) == [("StepPlanned", "a"), ("StepPlanned", "b")]
    assert named(call_async(handler, target="b", plan_only=True)) == [("StepRun", "b")]


def test_step_that_has_failed_excuses_the_calls_before_it() -> None:
    async def handler(ctx: Context) -> str:
        later = ctx.step.run("later", int)
        try:
            await ctx.step.run("charge", int)
        except StepError:
            return "compensated"
        return str(await later)

    failed = memos(charge={"error": {"name": "E", "message": "m"}})
    assert result_of(call_async(handler, failed)) == "compensated"
