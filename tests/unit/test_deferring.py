"""Functions that a run defers: what rides along with what a call reports anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stepwell.client import Client
from stepwell.errors import NonRetriableError
from stepwell.execution import DEFER_BYTES_MAX, DEFERS_MAX, RESULT_BYTES_MAX
from stepwell.triggers import TriggerDeferred
from stepwell.wire.ids import RUN_COMPLETE_STEP, hash_step_id
from stepwell.wire.ops import OPS_PER_RESPONSE_MAX
from tests.unit.calls import call_async, call_sync, error_of, memos, named, ops_of, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.context import Context, ContextSync
    from stepwell.outcome import Outcome

CLEAN = Client(app_id="shop", is_production=False).create_function(
    fn_id="clean", trigger=TriggerDeferred()
)(lambda _ctx: "cleaned")


def call(before: Callable[[Any], Any], then: str = "", **options: Any) -> Outcome:
    """What a call ends with whose function does something, and then runs a step or returns."""

    async def handler(ctx: Context) -> str:
        before(ctx)
        return await ctx.step.run(then, lambda: "ran") if then else "returned"

    def handler_sync(ctx: ContextSync) -> str:
        before(ctx)
        return ctx.step.run(then, lambda: "ran") if then else "returned"

    outcome = call_async(handler, **options)
    twin = call_sync(handler_sync, **options)
    assert (twin.kind, twin.no_retry) == (outcome.kind, outcome.no_retry)
    assert twin.kind == "error" or twin.body == outcome.body
    return outcome


def deferring(ctx: Any) -> Any:
    return ctx.step.defer("later", CLEAN, {"order_id": 7})


def fails(ctx: Any, error: Exception) -> None:
    deferring(ctx)
    raise error


# --- what is recorded ---


def test_deferred_function_is_recorded_with_the_step_that_runs() -> None:
    [rider, op] = ops_of(call(deferring, "a"))

    assert (op["op"], op["data"]) == ("StepRun", "ran")
    assert rider["op"] == "DeferAdd"
    assert rider["id"] == hash_step_id("later")
    assert rider["userland"] == {"id": "later"}
    assert rider["opts"] == {"fn_slug": "shop-clean", "input": {"order_id": 7}}


def test_deferred_function_without_data_gets_an_empty_object() -> None:
    [rider, _] = ops_of(call(lambda ctx: ctx.step.defer("later", CLEAN), "a"))

    assert rider["opts"]["input"] == {}


def test_deferred_function_is_recorded_beside_the_result() -> None:
    [rider, op] = ops_of(call(deferring))

    assert rider["op"] == "DeferAdd"
    assert (op["op"], op["id"], op["data"]) == ("RunComplete", RUN_COMPLETE_STEP, "returned")


def test_deferred_function_is_recorded_by_a_call_for_a_step() -> None:
    """It stands before the step, also where that is one of a group."""
    assert named(call(deferring, "a", target="a")) == [("DeferAdd", "later"), ("StepRun", "a")]
    assert named(call(deferring, "a", plan_only=True)) == [
        ("DeferAdd", "later"),
        ("StepPlanned", "a"),
    ]


def test_deferred_function_behind_the_step_is_not_recorded_yet() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.run("a", int)
        deferring(ctx)

    assert named(call_async(handler)) == [("StepRun", "a")]


def test_known_deferred_function_is_not_recorded_again() -> None:
    assert named(call(deferring, "a", deferred=["later"])) == [("StepRun", "a")]
    assert result_of(call(deferring, deferred=["later"])) == "returned"


def test_id_used_twice_names_two_deferred_functions() -> None:
    riders = ops_of(call(lambda ctx: [deferring(ctx), deferring(ctx)], "a"))[:2]

    assert [rider["id"] for rider in riders] == [hash_step_id("later", n) for n in (0, 1)]
    assert riders[1]["userland"] == {"id": "later", "index": 1}


def test_deferred_function_in_a_group_is_recorded_once_though_its_branch_runs_twice() -> None:
    async def handler(ctx: Context) -> None:
        async def branch() -> None:
            deferring(ctx)
            await ctx.step.run("a", int)

        await ctx.group.parallel((branch,))

    assert named(call_async(handler)) == [("DeferAdd", "later"), ("StepRun", "a")]


def test_function_may_be_deferred_without_an_await() -> None:
    async def handler(ctx: Context) -> str:
        deferring(ctx)
        return "returned"

    assert named(call_async(handler))[0] == ("DeferAdd", "later")


# --- abort ---


def test_withdrawn_function_is_told_after_it_was_told() -> None:
    [_, rider, _] = ops_of(call(lambda ctx: deferring(ctx).abort(), "a"))

    assert rider["op"] == "DeferAbort"
    assert rider["opts"] == {"target_hashed_id": hash_step_id("later")}


def test_known_function_is_withdrawn_alone() -> None:
    outcome = call(lambda ctx: deferring(ctx).abort(), "a", deferred=["later"])

    assert [op["op"] for op in ops_of(outcome)] == ["DeferAbort", "StepRun"]


def test_abort_names_the_function_that_it_is_for() -> None:
    def second(ctx: Any) -> None:
        deferring(ctx)
        deferring(ctx).abort()

    [_, _, rider, _] = ops_of(call(second, "a"))

    assert rider["opts"] == {"target_hashed_id": hash_step_id("later", 1)}


def test_abort_behind_a_step_is_told_when_that_has_ended() -> None:
    async def handler(ctx: Context) -> None:
        later = deferring(ctx)
        await ctx.step.run("a", int)
        later.abort()

    outcome = call_async(handler, memos(a={"data": 1}), deferred=["later"])
    assert [op["op"] for op in ops_of(outcome)] == ["DeferAbort", "RunComplete"]


# --- a function that fails ---


@pytest.mark.parametrize("error", [ValueError("no"), NonRetriableError("no")])
def test_failure_waits_until_the_deferred_function_is_recorded(error: Exception) -> None:
    told = call(lambda ctx: fails(ctx, error))

    assert named(told) == [("DeferAdd", "later")]
    assert not told.no_retry
    again = call(lambda ctx: fails(ctx, error), deferred=["later"])
    assert error_of(again)["message"] == "no"
    assert again.no_retry is isinstance(error, NonRetriableError)


def test_failure_waits_until_a_known_function_is_withdrawn() -> None:
    def withdraws(ctx: Any) -> None:
        deferring(ctx).abort()
        raise ValueError("no")

    told = call(withdraws, deferred=["later"])
    assert [op["op"] for op in ops_of(told)] == ["DeferAbort"]
    # What was never recorded, or is withdrawn by now, needs no telling.
    assert error_of(call(withdraws))["message"] == "no"


def test_result_without_a_json_form_waits_too() -> None:
    async def handler(ctx: Context) -> Any:
        deferring(ctx)
        return object()

    assert named(call_async(handler)) == [("DeferAdd", "later")]
    error = error_of(call_async(handler, deferred=["later"]))
    assert error["code"] == "output_unserializable"


def test_call_for_a_step_that_is_not_met_tells_nothing_else() -> None:
    assert error_of(call(deferring, target="gone"))["code"] == "step_unexpected"


def test_failure_does_not_wait_for_what_the_server_would_leave_out() -> None:
    def many(ctx: Any) -> None:
        for number in range(DEFERS_MAX + 1):
            ctx.step.defer(f"later-{number}", CLEAN)
        raise ValueError("no")

    def large(ctx: Any) -> None:
        ctx.step.defer("later", CLEAN, {"text": "x" * DEFER_BYTES_MAX})
        raise ValueError("no")

    for failing in (many, large):
        assert error_of(call(failing))["message"] == "no"


# --- limits and mistakes ---


def test_riders_count_as_operations() -> None:
    async def handler(ctx: Context) -> None:
        deferring(ctx)
        steps = [
            lambda number=number: ctx.step.run(f"s{number}", int)
            for number in range(OPS_PER_RESPONSE_MAX)
        ]
        await ctx.group.parallel(steps)

    error = error_of(call_async(handler, deferred=["x"] * DEFERS_MAX))
    assert error["code"] == "ops_too_many"


def test_result_and_riders_have_to_fit_together() -> None:
    async def handler(ctx: Context) -> str:
        ctx.step.defer("later", CLEAN, {"text": "x" * 2**20})
        return "y" * (RESULT_BYTES_MAX - 2**20)

    outcome = call_async(handler, deferred=["x"] * DEFERS_MAX)
    assert error_of(outcome)["code"] == "output_too_large"


@pytest.mark.parametrize("data", [5, "text", [1]])
def test_data_is_an_object(data: Any) -> None:
    outcome = call(lambda ctx: ctx.step.defer("later", CLEAN, data), "a")

    assert error_of(outcome)["message"].startswith("the data of a deferred function is an object")
    assert outcome.no_retry


@pytest.mark.parametrize("function", [None, "clean", lambda: 1])
def test_only_a_declared_function_can_be_deferred(function: Any) -> None:
    outcome = call(lambda ctx: ctx.step.defer("later", function), "a")

    assert "a declared function is needed here" in error_of(outcome)["message"]


def test_defer_inside_a_step_is_refused() -> None:
    def handler(ctx: ContextSync) -> None:
        ctx.step.run("a", lambda: deferring(ctx))

    assert error_of(call_sync(handler))["code"] == "step_nested"


def test_function_that_would_not_start_is_refused() -> None:
    by_event = Client(app_id="shop", is_production=False).function("ship", event="e")(
        lambda _ctx: None
    )

    outcome = call(lambda ctx: ctx.step.defer("later", by_event, {}), "a")

    assert (
        "'shop-ship' is deferred and would not start: add TriggerDeferred()"
        in (error_of(outcome)["message"])
    )
    assert outcome.no_retry
