"""What one call means: the rules of the step model, one test each, for async and sync functions.

A story is a pair of the same function, async and sync; `both` runs it as both.
Source: docs/reference/wire/http-sdk.md, "steps".
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import ConfigError, NonRetriableError, RetryAfterError, StepError
from stepwell.execution import (
    MISSING,
    RESULT_BYTES_MAX,
    STEP_OUTPUT_BYTES_MAX,
    run_async,
)
from stepwell.interrupt import Interrupt
from stepwell.wire.ids import hash_step_id
from stepwell.wire.ops import OPS_PER_RESPONSE_MAX
from tests.unit.calls import (
    call_async,
    call_sync,
    error_of,
    execution,
    memos,
    named,
    ops_of,
    result_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stepwell.context import Context, ContextSync
    from stepwell.outcome import Outcome


def both(async_handler: Any, sync_handler: Any, *args: Any, **options: Any) -> Outcome:
    """Run a story as both kinds of function; they must end alike but for their tracebacks."""
    outcome = call_async(async_handler, *args, **options)
    twin = call_sync(sync_handler, *args, **options)
    assert (twin.kind, twin.no_retry, twin.retry_after) == (
        outcome.kind,
        outcome.no_retry,
        outcome.retry_after,
    )
    if outcome.kind == "result":
        assert twin.body == outcome.body
    elif outcome.kind == "ops":
        assert [_bare(op) for op in ops_of(twin)] == [_bare(op) for op in ops_of(outcome)]
    else:
        assert _bare(error_of(twin)) == _bare(error_of(outcome))
    return outcome


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items() if key != "stack"}
    return value


async def two_steps(ctx: Context) -> int:
    first = await ctx.step.run("first", lambda: 1)
    second = await ctx.step.run("second", lambda: first + 1)
    return second * 10


def two_steps_sync(ctx: ContextSync) -> int:
    first = ctx.step.run("first", lambda: 1)
    second = ctx.step.run("second", lambda: first + 1)
    return second * 10


def raiser(error: BaseException) -> tuple[Any, Any]:
    """A story whose one step raises; the function catches what the step ended with."""

    def fail() -> None:
        raise error

    async def handler(ctx: Context) -> str:
        try:
            await ctx.step.run("fails", fail)
        except StepError as caught:
            return f"caught {caught.name}: {caught}"
        return "not raised"

    def handler_sync(ctx: ContextSync) -> str:
        try:
            ctx.step.run("fails", fail)
        except StepError as caught:
            return f"caught {caught.name}: {caught}"
        return "not raised"

    return handler, handler_sync


# --- one step after the other ---


def test_first_new_step_runs_and_the_function_is_left() -> None:
    outcome = both(two_steps, two_steps_sync)

    assert ops_of(outcome) == [
        {
            "op": "StepRun",
            "id": hash_step_id("first"),
            "name": "first",
            "displayName": "first",
            "opts": {"type": "step.run"},
            "data": 1,
            "error": None,
            "userland": {"id": "first"},
        }
    ]
    assert not outcome.no_retry
    assert outcome.retry_after is None


def test_remembered_step_is_not_run_again() -> None:
    assert ops_of(both(two_steps, two_steps_sync, memos(first={"data": 41})))[0]["data"] == 42


def test_function_without_new_steps_gives_its_result() -> None:
    outcome = both(two_steps, two_steps_sync, memos(first={"data": 1}, second={"data": 7}))

    assert result_of(outcome) == 70


def test_function_without_steps_gives_its_result() -> None:
    async def handler(_ctx: Context) -> dict[str, datetime]:
        return {"at": datetime(2026, 1, 2, tzinfo=UTC)}

    def handler_sync(_ctx: ContextSync) -> dict[str, datetime]:
        return {"at": datetime(2026, 1, 2, tzinfo=UTC)}

    assert result_of(both(handler, handler_sync)) == {"at": "2026-01-02T00:00:00Z"}


def test_plan_only_reports_the_step_and_does_not_run_it() -> None:
    outcome = both(two_steps, two_steps_sync, plan_only=True)

    assert named(outcome) == [("StepPlanned", "first")]
    assert ops_of(outcome)[0]["opts"] == {"type": "step.run"}
    assert ops_of(outcome)[0]["data"] is None


# --- a call that names one step ---


def test_targeted_call_runs_only_its_step() -> None:
    outcome = both(two_steps, two_steps_sync, memos(first={"data": 1}), target="second")

    assert named(outcome) == [("StepRun", "second")]


def test_targeted_call_runs_its_step_in_plan_only_mode() -> None:
    outcome = both(two_steps, two_steps_sync, target="first", plan_only=True)

    assert named(outcome) == [("StepRun", "first")]


def test_targeted_call_that_meets_another_new_step_reports_nothing_of_it() -> None:
    outcome = both(two_steps, two_steps_sync, target="second")

    assert error_of(outcome)["code"] == "step_unexpected"
    assert not outcome.no_retry


def test_targeted_call_whose_step_is_not_met_is_an_error() -> None:
    steps = memos(first={"data": 1}, second={"data": 2})

    assert error_of(both(two_steps, two_steps_sync, steps, target="gone"))["code"] == (
        "step_unexpected"
    )


def test_step_called_step_is_an_untargeted_call() -> None:
    state = execution()
    assert state.recall(state.meet("first")) is MISSING
    state.begin(state.meet("second"), "step.run")  # raises if another step were the target

    assert state.busy


# --- ids ---


def test_repeated_id_gets_an_index() -> None:
    async def handler(ctx: Context) -> list[int]:
        return [await ctx.step.run("a", lambda: 0) for _ in range(3)]

    def handler_sync(ctx: ContextSync) -> list[int]:
        return [ctx.step.run("a", lambda: 0) for _ in range(3)]

    outcome = both(handler, handler_sync, memos(a={"data": 1}, a__1={"data": 2}))

    [op] = ops_of(outcome)
    assert op["id"] == hash_step_id("a:2")
    assert op["displayName"] == "a"
    assert op["userland"] == {"id": "a", "index": 2}


def test_index_that_the_program_uses_itself_is_skipped() -> None:
    state = execution()

    names = [state.meet(step_id) for step_id in ("a:1", "a", "a", "a:1")]

    assert [name.hashed for name in names] == [
        hash_step_id(text) for text in ("a:1", "a", "a:2", "a:1:1")
    ]


def test_id_that_an_index_has_made_is_not_given_again() -> None:
    state = execution()

    names = [state.meet(step_id) for step_id in ("a", "a", "a:1", "a:1", "a")]

    texts = ("a", "a:1", "a:1:1", "a:1:2", "a:2")
    assert [name.hashed for name in names] == [hash_step_id(text) for text in texts]


# --- memo shapes ---


@pytest.mark.parametrize(
    ("memo", "value"),
    [
        ({"data": {"n": 1}}, {"n": 1}),
        ({"data": None}, None),
        (None, None),
        (5, 5),
        ("text", "text"),
        ([1], [1]),
        ({}, {}),
        ({"name": "e", "data": {}, "ts": 1}, {"name": "e", "data": {}, "ts": 1}),
        ({"data": 1, "error": {"message": "m"}}, {"data": 1, "error": {"message": "m"}}),
    ],
)
def test_memo_gives_its_value(memo: object, value: object) -> None:
    state = execution(memos(a=memo))

    assert state.recall(state.meet("a")) == value


@pytest.mark.parametrize(
    ("error", "name", "message", "stack"),
    [
        ({"name": "E", "message": "m", "stack": "s"}, "E", "m", "s"),
        ({"name": "E", "message": "m", "noRetry": True, "data": {}}, "E", "m", None),
        ({"error": "x", "name": None, "message": "m"}, "Error", "m", None),
        ({"message": 5, "name": "E"}, "E", "5", None),
        ({}, "Error", "", None),
        ("plain text", "Error", "plain text", None),
    ],
)
def test_error_memo_raises(error: object, name: str, message: str, stack: str | None) -> None:
    state = execution(memos(a={"error": error}))

    with pytest.raises(StepError) as caught:
        state.recall(state.meet("a"))

    assert (caught.value.name, caught.value.message, caught.value.stack) == (name, message, stack)


def test_input_memo_replaces_the_arguments() -> None:
    def add(one: int, two: int) -> int:
        return one + two

    async def handler(ctx: Context) -> int:
        return await ctx.step.run("add", add, 1, 2)

    def handler_sync(ctx: ContextSync) -> int:
        return ctx.step.run("add", add, 1, 2)

    outcome = both(handler, handler_sync, memos(add={"input": [20, 30]}))

    assert ops_of(outcome)[0]["data"] == 50


def test_output_type_is_applied_to_the_memo() -> None:
    async def handler(ctx: Context) -> bool:
        at = await ctx.step.run("at", lambda: datetime.now(UTC), output_type=datetime)
        return at == datetime(2026, 1, 2, tzinfo=UTC)

    def handler_sync(ctx: ContextSync) -> bool:
        at = ctx.step.run("at", lambda: datetime.now(UTC), output_type=datetime)
        return at == datetime(2026, 1, 2, tzinfo=UTC)

    steps = memos(at={"data": "2026-01-02T00:00:00Z"})
    assert result_of(both(handler, handler_sync, steps)) is True


def test_memo_that_does_not_fit_the_output_type_is_an_error_that_is_retried() -> None:
    async def handler(ctx: Context) -> int:
        return await ctx.step.run("n", lambda: 1, output_type=int)

    def handler_sync(ctx: ContextSync) -> int:
        return ctx.step.run("n", lambda: 1, output_type=int)

    outcome = both(handler, handler_sync, memos(n={"data": "one"}))

    assert error_of(outcome)["code"] == "output_invalid"
    assert not outcome.no_retry


# --- errors in steps ---


def test_failing_step_is_retried() -> None:
    outcome = both(*raiser(ValueError("boom")))

    [op] = ops_of(outcome)
    assert op["op"] == "StepError"
    assert op["error"]["name"] == "ValueError"
    assert op["error"]["message"] == "boom"
    assert "in fail" in op["error"]["stack"]
    assert "stepwell/step.py" not in op["error"]["stack"]
    assert not outcome.no_retry


def test_last_attempt_of_a_step_fails_it() -> None:
    outcome = both(*raiser(ValueError("boom")), attempt=3, max_attempts=4)

    assert named(outcome) == [("StepFailed", "fails")]
    assert not outcome.no_retry


def test_failed_step_is_caught_where_it_is_awaited() -> None:
    steps = memos(fails={"error": {"name": "ValueError", "message": "boom"}})

    assert result_of(both(*raiser(ValueError()), steps)) == "caught ValueError: boom"


def test_failed_step_that_is_not_caught_fails_the_function_without_retry() -> None:
    steps = memos(first={"error": {"name": "ValueError", "message": "boom", "stack": "line 1"}})

    outcome = both(two_steps, two_steps_sync, steps)

    assert call_async(two_steps, steps).body == (
        b'{"code":"step_errored","message":"boom","name":"ValueError","stack":"line 1"}'
    )
    assert outcome.no_retry


def test_non_retriable_error_fails_the_step_and_not_the_function() -> None:
    outcome = both(*raiser(NonRetriableError("no use")))

    [op] = ops_of(outcome)
    assert op["op"] == "StepFailed"
    assert op["error"]["noRetry"] is True
    assert outcome.no_retry


def test_retry_after_error_tells_when_the_step_is_tried_again() -> None:
    outcome = both(*raiser(RetryAfterError("busy", 2_500)))

    assert named(outcome) == [("StepError", "fails")]
    assert outcome.retry_after == "3"


def test_retry_after_error_on_the_last_attempt_fails_the_step() -> None:
    outcome = both(*raiser(RetryAfterError("busy", 2_500)), attempt=3)

    assert named(outcome) == [("StepFailed", "fails")]
    assert outcome.retry_after is None


@pytest.mark.parametrize("attempt", [0, 3], ids=["an early attempt", "the last attempt"])
def test_output_that_has_no_json_form_fails_the_step(attempt: int) -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.run("opaque", object)

    def handler_sync(ctx: ContextSync) -> None:
        ctx.step.run("opaque", object)

    outcome = both(handler, handler_sync, attempt=attempt)

    [op] = ops_of(outcome)
    assert op["op"] == "StepFailed"
    assert "object" in op["error"]["message"]
    assert outcome.no_retry


def test_step_output_over_the_limit_fails_the_step() -> None:
    def handler_of(size: int) -> Callable[[Context], Any]:
        async def handler(ctx: Context) -> None:
            await ctx.step.run("large", lambda: "x" * (size - 2))  # two for the quotes

        return handler

    assert named(call_async(handler_of(STEP_OUTPUT_BYTES_MAX))) == [("StepRun", "large")]
    [op] = ops_of(call_async(handler_of(STEP_OUTPUT_BYTES_MAX + 1)))
    assert op["op"] == "StepFailed"
    assert str(STEP_OUTPUT_BYTES_MAX) in op["error"]["message"]


# --- errors in the function ---


def function_raising(error: BaseException) -> tuple[Any, Any]:
    async def handler(_ctx: Context) -> None:
        raise error

    def handler_sync(_ctx: ContextSync) -> None:
        raise error

    return handler, handler_sync


def test_error_of_the_function_is_retried() -> None:
    outcome = both(*function_raising(KeyError("k")))

    error = error_of(outcome)
    assert (error["code"], error["name"], error["message"]) == ("unknown", "KeyError", "'k'")
    assert "in handler" in error["stack"]
    assert not outcome.no_retry


def test_non_retriable_error_of_the_function_is_final() -> None:
    outcome = both(*function_raising(NonRetriableError("no use")))

    assert error_of(outcome)["code"] == "non_retriable_error"
    assert outcome.no_retry


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (1, "1"),
        (0, "1"),
        (1_001, "2"),
        (timedelta(minutes=1), "60"),
        (timedelta(days=9), "86400"),
        (datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC), "2026-01-02T03:04:05.678+00:00"),
    ],
)
def test_retry_after_error_of_the_function(when: int | timedelta | datetime, text: str) -> None:
    outcome = both(*function_raising(RetryAfterError("busy", when)))

    assert error_of(outcome)["code"] == "retry_after_error"
    assert outcome.retry_after == text
    assert not outcome.no_retry


def test_system_exit_ends_the_call_and_not_the_worker() -> None:
    assert error_of(both(*function_raising(SystemExit(3))))["name"] == "SystemExit"


def test_result_that_has_no_json_form_is_final() -> None:
    async def handler(_ctx: Context) -> object:
        return object()

    def handler_sync(_ctx: ContextSync) -> object:
        return object()

    outcome = both(handler, handler_sync)

    error = error_of(outcome)
    assert error["code"] == "output_unserializable"
    assert error["message"] == (
        "the function's result (object) cannot be written as JSON: objects of type object are not "
        "supported; use plain values, a dataclass, a msgspec struct or a pydantic model"
    )
    assert outcome.no_retry


def test_result_of_a_step_that_has_no_json_form_is_named() -> None:
    async def handler(ctx: Context) -> object:
        return await ctx.step.run("charge", object)

    def handler_sync(ctx: ContextSync) -> object:
        return ctx.step.run("charge", object)

    [op] = ops_of(both(handler, handler_sync))

    assert op["error"]["message"].startswith(
        "the result of step 'charge' (object) cannot be written as JSON: "
    )


def test_result_over_the_limit_is_final() -> None:
    async def handler(_ctx: Context) -> str:
        return "x" * RESULT_BYTES_MAX

    outcome = call_async(handler)

    assert error_of(outcome)["code"] == "output_too_large"
    assert outcome.no_retry


# --- what user code can do wrong ---


def test_step_inside_a_step_is_refused() -> None:
    async def handler(ctx: Context) -> None:
        async def outer() -> None:
            await ctx.step.run("inner", lambda: 1)

        await ctx.step.run("outer", outer)

    def handler_sync(ctx: ContextSync) -> None:
        ctx.step.run("outer", lambda: ctx.step.run("inner", lambda: 1))

    outcome = both(handler, handler_sync)

    error = error_of(outcome)
    assert error["code"] == "step_nested"
    assert "'inner'" in error["message"]
    assert outcome.no_retry


def test_step_inside_a_step_is_refused_even_if_the_body_swallows_it() -> None:
    async def handler(ctx: Context) -> None:
        async def outer() -> str:
            try:
                await ctx.step.sleep("inner", 1)
            except Exception:
                return "swallowed"
            return "slept"

        await ctx.step.run("outer", outer)

    assert error_of(call_async(handler))["code"] == "step_nested"


def test_except_exception_does_not_swallow_the_end_of_the_call() -> None:
    async def handler(ctx: Context) -> str:
        try:
            await ctx.step.run("first", lambda: 1)
        except Exception:
            return "swallowed"
        return "went on"

    assert named(call_async(handler)) == [("StepRun", "first")]


def test_bare_except_runs_no_second_step() -> None:
    ran: list[str] = []

    async def handler(ctx: Context) -> str:
        for step_id in ("first", "second"):
            try:
                await ctx.step.run(step_id, ran.append, step_id)
            except BaseException:
                continue
        return "went on"

    assert named(call_async(handler)) == [("StepRun", "first")]
    assert ran == ["first"]


def test_async_handler_in_a_sync_function_is_refused() -> None:
    async def body() -> int:
        return 1

    def handler(ctx: ContextSync) -> Any:
        return ctx.step.run("async", body)

    [op] = ops_of(call_sync(handler))

    assert op["op"] == "StepFailed"
    assert "async def" in op["error"]["message"]


def test_async_handler_runs_in_an_async_function() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    async def handler(ctx: Context) -> int:
        return await ctx.step.run("async", double, 21)

    assert ops_of(call_async(handler))[0]["data"] == 42


# --- sibling tasks ---


def test_gathered_steps_run_one_a_call() -> None:
    ran: list[str] = []

    async def body(name: str) -> str:
        ran.append(name)
        await asyncio.sleep(0)
        return name

    async def handler(ctx: Context) -> list[str]:
        return await asyncio.gather(*(ctx.step.run(name, body, name) for name in "abc"))

    assert named(call_async(handler)) == [("StepRun", "a")]
    assert named(call_async(handler, memos(a={"data": "a"}))) == [("StepRun", "b")]
    steps = memos(a={"data": "a"}, b={"data": "b"}, c={"data": "c"})
    assert result_of(call_async(handler, steps)) == ["a", "b", "c"]
    assert ran == ["a", "b"]


def test_task_group_of_steps_runs_one_a_call() -> None:
    async def body() -> int:
        await asyncio.sleep(0)
        return 1

    async def handler(ctx: Context) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ctx.step.run("a", body))
            tasks.create_task(ctx.step.run("b", body))

    assert named(call_async(handler)) == [("StepRun", "a")]


def test_sleep_beside_a_running_step_waits_for_its_end() -> None:
    async def body() -> int:
        await asyncio.sleep(0)
        return 1

    async def handler(ctx: Context) -> None:
        await asyncio.gather(ctx.step.run("a", body), ctx.step.sleep("nap", 1000))

    assert named(call_async(handler)) == [("StepRun", "a")]
    assert named(call_async(handler, memos(a={"data": 1}))) == [("Sleep", "nap")]


def test_step_that_the_function_times_out_is_not_recorded() -> None:
    async def handler(ctx: Context) -> str:
        try:
            async with asyncio.timeout(0):
                await ctx.step.run("slow", asyncio.Event().wait)
        except TimeoutError:
            return await ctx.step.run("fallback", lambda: "done")
        return "in time"

    assert named(call_async(handler)) == [("StepRun", "fallback")]


def test_waiting_sibling_goes_on_when_the_running_step_is_cancelled() -> None:
    async def handler(ctx: Context) -> None:
        slow = asyncio.create_task(ctx.step.run("slow", asyncio.Event().wait))
        await asyncio.sleep(0)
        other = asyncio.create_task(ctx.step.run("other", lambda: 1))
        await asyncio.sleep(0)
        slow.cancel()
        await other

    assert named(call_async(handler)) == [("StepRun", "other")]


# --- the end of a call ---


def test_cancelled_call_raises() -> None:
    state = execution()

    async def story() -> bool:
        async def handler(_ctx: object) -> None:
            await asyncio.Event().wait()

        task = asyncio.create_task(run_async(state, handler, None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(story())
    assert state.closed


def test_closed_execution_interrupts_every_step() -> None:
    state = execution()
    state.close()

    with pytest.raises(Interrupt):
        state.meet("late")
    with pytest.raises(Interrupt):
        state.open_group()


def test_too_many_steps_in_one_group_are_refused_with_a_reason() -> None:
    def handler_of(count: int) -> Callable[[Context], Any]:
        async def handler(ctx: Context) -> None:
            await ctx.group.parallel(
                [partial(ctx.step.sleep, f"nap-{n}", 1000) for n in range(count)]
            )

        return handler

    assert len(ops_of(call_async(handler_of(OPS_PER_RESPONSE_MAX)))) == OPS_PER_RESPONSE_MAX
    outcome = call_async(handler_of(OPS_PER_RESPONSE_MAX + 1))
    assert error_of(outcome)["code"] == "ops_too_many"
    assert outcome.no_retry


def test_config_error_of_the_function_is_final() -> None:
    assert both(*function_raising(ConfigError("wrong"))).no_retry


def test_error_of_a_step_is_bounded_and_fits_into_utf8() -> None:
    async def function(ctx: Context) -> None:
        def fail() -> None:
            raise ValueError("file \udcff" + "x" * 9_000_000)

        await ctx.step.run("a", fail)

    outcome = call_async(function)

    assert len(outcome.body) < 200_000
    [op] = ops_of(outcome)
    assert op["error"]["message"].startswith("file ?xxx")


def test_group_that_is_too_large_to_report_is_a_final_error() -> None:
    async def function(ctx: Context) -> None:
        def branch(number: int) -> Callable[[], Awaitable[int]]:
            return lambda: ctx.step.run(f"{number}" + "y" * 4_000, lambda: 1)

        await ctx.group.parallel([branch(number) for number in range(900)])

    outcome = call_async(function)

    assert error_of(outcome)["code"] == "output_too_large"
    assert "shorter step ids" in error_of(outcome)["message"]
    assert outcome.no_retry


def test_step_output_that_is_too_deep_fails_the_step_at_once() -> None:
    async def function(ctx: Context) -> None:
        def deep() -> Any:
            value: Any = 1
            for _ in range(300):
                value = [value]
            return value

        await ctx.step.run("a", deep)

    outcome = call_async(function)

    assert named(outcome) == [("StepFailed", "a")]
    assert outcome.no_retry
    assert "nested" in ops_of(outcome)[0]["error"]["message"]
