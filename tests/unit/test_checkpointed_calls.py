"""Calls that go on after a step: what is reported, when, and what ends them.

Each test runs for async and sync functions, with answers that come at once or on another thread.
Source: docs/reference/wire/checkpoints.md, "SDK".
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.checkpointer import Answer, Checkpointer
from stepwell.checkpointing import BLENDED, PERFORMANT, SAFE, Checkpointing
from stepwell.errors import NonRetriableError, RetryAfterError, StepError
from stepwell.execution import RESULT_BYTES_MAX
from stepwell.interrupt import Interrupt
from tests.unit.calls import call_async, error_of, memos, named, ops_of, result_of
from tests.unit.reports import Caller, Reports
from tests.unit.test_group import chain, step, then

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(
    params=[(True, False), (True, True), (False, False), (False, True)],
    ids=["async", "async-elsewhere", "sync", "sync-elsewhere"],
)
def caller(request: pytest.FixtureRequest) -> Caller:
    is_async, elsewhere = request.param
    return Caller(is_async=is_async, elsewhere=elsewhere)


def three(ctx: Any) -> Any:
    return chain(ctx, "a", "b", "c")()


def failing(ctx: Any, step_id: str, error: BaseException) -> Callable[[], Any]:
    """A branch whose one step raises."""

    def fail() -> None:
        raise error

    return lambda: ctx.step.run(step_id, fail)


def asked(ctx: Any, first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """One after the other."""

    def in_sync() -> Any:
        return [first(), second()]

    async def in_async() -> Any:
        return [await first(), await second()]

    return in_async() if type(ctx).__name__ == "Context" else in_sync()


# --- one step after the other ---


def test_each_step_is_stored_before_the_next_begins_and_the_result_is_plain(
    caller: Caller,
) -> None:
    begun: list[str] = []
    seen: list[list[str]] = []

    def story(ctx: Any) -> Any:
        def run(step_id: str) -> Callable[[], Any]:
            return lambda: ctx.step.run(step_id, begun.append, step_id)

        return asked(ctx, run("a"), run("b"))

    outcome, reports = caller.call(story, on_report=lambda _: seen.append([*begun]))

    assert reports.named == [["a"], ["b"]]
    assert seen == [["a"], ["a", "b"]]
    assert result_of(outcome) == [None, None]


def test_report_has_the_same_operation_as_an_outcome_without_checkpointing(caller: Caller) -> None:
    _, reports = caller.call(step_a)
    plain, none = caller.call(step_a, attempt=1)

    assert none.taken == []
    ((reported,),) = reports.taken
    timing = reported.pop("timing")
    assert timing["a"] > 0
    assert timing["b"] >= 0
    assert [reported] == ops_of(plain)


def step_a(ctx: Any) -> Any:
    return step(ctx, "a")()


def test_value_is_what_it_will_be_when_it_is_remembered(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        return ctx.step.run("when", lambda: {1: (2, datetime(2026, 8, 20, tzinfo=UTC))})

    outcome, _ = caller.call(story)

    assert result_of(outcome) == {"1": [2, "2026-08-20T00:00:00Z"]}


def test_buffered_steps_come_with_the_result(caller: Caller) -> None:
    outcome, reports = caller.call(three, PERFORMANT)

    assert reports.taken == []
    assert [op["op"] for op in ops_of(outcome)] == ["StepRun", "StepRun", "StepRun", "RunComplete"]
    assert ops_of(outcome)[-1]["data"] == ["ran a", "ran b", "ran c"]


def test_full_buffer_leaves_and_the_rest_comes_with_the_result(caller: Caller) -> None:
    outcome, reports = caller.call(three, Checkpointing(buffered_steps=2))

    assert reports.named == [["a", "b"]]
    assert [op["displayName"] for op in ops_of(outcome)][:1] == ["c"]
    assert [op["op"] for op in ops_of(outcome)] == ["StepRun", "RunComplete"]


def test_result_is_plain_if_nothing_is_unreported(caller: Caller) -> None:
    outcome, reports = caller.call(three, BLENDED)

    assert reports.named == [["a", "b", "c"]]
    assert result_of(outcome) == ["ran a", "ran b", "ran c"]


def test_buffer_is_full_by_bytes(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        large = lambda: ctx.step.run("large", lambda: "x" * 2_000)  # noqa: E731
        return asked(ctx, large, step(ctx, "small"))

    _, reports = caller.call(story, Checkpointing(buffered_steps=100, max_bytes=2_000))

    assert reports.named == [["large"]]


def test_durable_step_is_stored_with_all_before_it(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        durable = lambda: ctx.step.run("paid", lambda: 1, durable=True)  # noqa: E731
        return asked(ctx, step(ctx, "a"), lambda: asked(ctx, durable, step(ctx, "b")))

    outcome, reports = caller.call(story, PERFORMANT)

    assert reports.named == [["a", "paid"]]
    assert named(outcome)[:1] == [("StepRun", "b")]


def test_durable_call_of_a_provider_too(caller: Caller) -> None:
    async def ask() -> int:
        return 1

    def story(ctx: Any) -> Any:
        handler = ask if caller.is_async else (lambda: 1)
        return ctx.step.ai.wrap("ask", handler, durable=True)

    _, reports = caller.call(story, PERFORMANT)

    assert reports.named == [["ask"]]


def test_steps_too_large_to_come_with_a_result_are_stored_before(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        return ctx.step.run("large", lambda: "x" * 40_000)

    outcome, reports = caller.call(story, PERFORMANT)

    assert reports.named == [["large"]]
    assert outcome.kind == "result"


# --- calls that do not go on ---


@pytest.mark.parametrize("options", [{"target": "a"}, {"plan_only": True}, {"attempt": 1}])
def test_call_for_one_step_or_a_plan_or_a_second_attempt_does_not_go_on(
    caller: Caller, options: dict[str, Any]
) -> None:
    outcome, reports = caller.call(three, **options)

    assert reports.taken == []
    assert [step_id for _, step_id in named(outcome)] == ["a"]


def test_remembered_steps_are_not_reported_again(caller: Caller) -> None:
    _, reports = caller.call(three, steps=memos(a={"data": 1}, b={"data": 2}))

    assert reports.steps == ["c"]


# --- what ends a call ---


@pytest.mark.parametrize(
    ("last", "op"),
    [
        (lambda ctx: lambda: ctx.step.sleep("last", 1_000), "Sleep"),
        (
            lambda ctx: lambda: ctx.step.wait_for_event("last", event="e", timeout=1_000),
            "WaitForEvent",
        ),
        (lambda ctx: failing(ctx, "last", ValueError("no")), "StepError"),
        (lambda ctx: failing(ctx, "last", NonRetriableError("no")), "StepFailed"),
    ],
)
def test_everything_is_stored_before_what_ends_the_call(
    caller: Caller, last: Callable[[Any], Any], op: str
) -> None:
    outcome, reports = caller.call(
        lambda ctx: asked(ctx, lambda: chain(ctx, "a", "b")(), last(ctx)), PERFORMANT
    )

    assert reports.named == [["a", "b"]]
    assert named(outcome) == [(op, "last")]


def test_everything_is_stored_before_the_function_fails(caller: Caller) -> None:
    def fails() -> Any:
        raise ValueError("no")

    outcome, reports = caller.call(lambda ctx: asked(ctx, step(ctx, "a"), fails), PERFORMANT)

    assert reports.named == [["a"]]
    assert error_of(outcome)["message"] == "no"


def test_everything_is_stored_before_the_result_cannot_be_written(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: asked(ctx, step(ctx, "a"), lambda: _soon(ctx, object())), SAFE
    )

    assert reports.named == [["a"]]
    assert error_of(outcome)["code"] == "output_unserializable"


def _soon(ctx: Any, value: Any) -> Any:
    async def give() -> Any:
        return value

    return give() if type(ctx).__name__ == "Context" else value


def test_everything_is_stored_before_a_system_exit_ends_the_call(caller: Caller) -> None:
    def leaves() -> Any:
        raise SystemExit(3)

    outcome, reports = caller.call(lambda ctx: asked(ctx, step(ctx, "a"), leaves), PERFORMANT)

    assert reports.named == [["a"]]
    assert outcome.kind == "error"


def test_retry_after_of_a_failed_step_is_told(caller: Caller) -> None:
    outcome, _ = caller.call(
        lambda ctx: asked(ctx, step(ctx, "a"), failing(ctx, "b", RetryAfterError("later", 7_000)))
    )

    assert outcome.retry_after == "7"


def test_deferred_functions_ride_with_the_steps_and_the_result(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        ctx.step.defer("later", _deferred(caller), {"x": 1})
        return step(ctx, "a")()

    outcome, _ = caller.call(story, PERFORMANT)

    assert [op["op"] for op in ops_of(outcome)] == ["DeferAdd", "StepRun", "RunComplete"]


def _deferred(caller: Caller) -> Any:
    from stepwell import Client, TriggerDeferred

    client = Client(app_id="shop", is_production=False)

    async def later(ctx: Any) -> None: ...

    def later_sync(ctx: Any) -> None: ...

    return client.create_function(fn_id="later", trigger=TriggerDeferred())(
        later if caller.is_async else later_sync
    )


# --- handing over ---


def test_new_step_of_a_worker_that_leaves_is_planned_and_not_run(caller: Caller) -> None:
    ran: list[str] = []
    reported: list[int] = []

    def story(ctx: Any) -> Any:
        def run(step_id: str) -> Callable[[], Any]:
            return lambda: ctx.step.run(step_id, ran.append, step_id)

        return asked(ctx, run("a"), run("b"))

    outcome, _ = caller.call(story, on_report=reported.append, is_leaving=lambda: bool(reported))

    assert ran == ["a"]
    assert named(outcome) == [("StepPlanned", "b")]


def test_function_without_a_further_step_ends_although_the_worker_leaves(caller: Caller) -> None:
    outcome, reports = caller.call(
        three, steps=memos(a={"data": 1}, b={"data": 2}, c={"data": 3}), is_leaving=lambda: True
    )

    assert (reports.taken, result_of(outcome)) == ([], [1, 2, 3])


def test_runtime_is_over(caller: Caller) -> None:
    outcome, reports = caller.call(three, max_runtime_ms=-1)

    assert reports.taken == []
    assert named(outcome) == [("StepPlanned", "a")]


def test_branches_of_a_group_are_planned_when_the_worker_leaves(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel([step(ctx, "a"), step(ctx, "b")]), is_leaving=lambda: True
    )

    assert reports.taken == []
    assert named(outcome) == [("StepPlanned", "a"), ("StepPlanned", "b")]


# --- reports that are refused ---


def test_stale_answer_ends_the_call(caller: Caller) -> None:
    outcome, reports = caller.call(three, answers=[Answer.STORED, Answer.STALE])

    assert reports.steps == ["a", "b"]
    assert (error_of(outcome)["code"], outcome.no_retry) == ("call_stale", True)


def test_failed_report_makes_its_steps_the_outcome(caller: Caller) -> None:
    outcome, reports = caller.call(three, answers=[Answer.STORED, Answer.FAILED])

    assert reports.steps == ["a", "b"]
    assert named(outcome) == [("StepRun", "b")]


def test_failed_report_before_a_sleep_leaves_the_sleep_to_the_next_call(caller: Caller) -> None:
    outcome, _ = caller.call(
        _a_then_sleep,
        PERFORMANT,
        answers=[Answer.FAILED],
    )

    assert named(outcome) == [("StepRun", "a")]


def _a_then_sleep(ctx: Any) -> Any:
    return asked(ctx, step(ctx, "a"), lambda: ctx.step.sleep("nap", 1_000))


def test_failed_report_before_an_error_leaves_the_error_to_the_next_call(caller: Caller) -> None:
    def fails() -> Any:
        raise ValueError("no")

    outcome, _ = caller.call(
        lambda ctx: asked(ctx, step(ctx, "a"), fails), PERFORMANT, answers=[Answer.FAILED]
    )

    assert named(outcome) == [("StepRun", "a")]


@pytest.mark.parametrize("answer", [Answer.STALE, Answer.FAILED])
def test_no_step_begins_after_a_report_in_the_background_was_refused(
    caller: Caller, answer: Answer
) -> None:
    ran: list[str] = []
    reports = Reports([answer])
    checkpointer = Checkpointer(
        Checkpointing(buffered_steps=100, max_interval=1), send=reports.send
    )

    def story(ctx: Any) -> Any:
        def run(step_id: str) -> Callable[[], Any]:
            def body() -> None:
                ran.append(step_id)
                if step_id == "b":
                    checkpointer.tick(float("inf"))

            return lambda: ctx.step.run(step_id, body)

        return asked(ctx, run("a"), lambda: asked(ctx, run("b"), run("c")))

    outcome = _with(caller, story, checkpointer)

    assert ran == ["a", "b"]
    if answer is Answer.STALE:
        assert error_of(outcome)["code"] == "call_stale"
    else:
        assert named(outcome) == [("StepRun", "a"), ("StepRun", "b")]


def _with(caller: Caller, story: Callable[[Any], Any], checkpointer: Checkpointer) -> Any:
    from tests.unit.calls import call_sync

    if not caller.is_async:
        return call_sync(story, checkpointer=checkpointer)

    async def handler(ctx: Any) -> Any:
        return await story(ctx)

    return call_async(handler, checkpointer=checkpointer)


def test_steps_for_which_a_failed_report_leaves_no_room_are_left_to_the_next_call(
    caller: Caller,
) -> None:
    outcome, _ = caller.call(
        lambda ctx: ctx.group.parallel(
            [
                lambda n=n: ctx.step.run(f"large {n}", lambda: "x" * (4 * 2**20 - 100))
                for n in range(3)
            ]
        ),
        answers=[Answer.FAILED],
    )

    assert named(outcome) == [("StepRun", "large 0")]
    assert len(outcome.body) <= RESULT_BYTES_MAX


def test_more_steps_than_an_outcome_has_are_left_to_the_next_call(caller: Caller) -> None:
    outcome, _ = caller.call(
        lambda ctx: ctx.group.parallel([step(ctx, f"s{number}") for number in range(1_100)]),
        Checkpointing(buffered_steps=1_000),
        answers=[Answer.FAILED],
    )

    ops = named(outcome)
    assert set(ops) <= {("StepRun", f"s{number}") for number in range(1_100)}
    assert len(ops) == 1_000


# --- groups ---


def group_of(ctx: Any, *step_ids: str) -> Any:
    return ctx.group.parallel([step(ctx, step_id) for step_id in step_ids])


def test_branches_run_in_the_call_and_checkpointing_goes_on_after_them(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: asked(ctx, lambda: group_of(ctx, "a", "b"), step(ctx, "after"))
    )

    assert sorted(reports.steps) == ["a", "after", "b"]
    assert reports.steps[-1] == "after"
    assert result_of(outcome) == [["ran a", "ran b"], "ran after"]


@pytest.mark.parametrize("mode", ["wait", "race"])
def test_branches_of_both_modes_run_in_the_call(caller: Caller, mode: str) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [chain(ctx, "a1", "a2"), chain(ctx, "b1", "b2")], parallel_mode=mode
        )
    )

    assert sorted(reports.steps) == ["a1", "a2", "b1", "b2"]
    assert result_of(outcome) == [["ran a1", "ran a2"], ["ran b1", "ran b2"]]


def test_waits_of_a_group_that_races_say_so(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [step(ctx, "a"), lambda: ctx.step.sleep("nap", 1_000)], parallel_mode="race"
        )
    )

    assert reports.steps == ["a"]
    [op] = ops_of(outcome)
    assert (op["op"], op["opts"]) == ("Sleep", {"parallelMode": "race"})


def test_bodies_of_branches_overlap(caller: Caller) -> None:
    barrier = threading.Barrier(3)
    arrived: list[int] = []
    all_arrived = asyncio.Event()

    async def meet(number: int) -> int:
        arrived.append(number)
        if len(arrived) == 3:
            all_arrived.set()
        async with asyncio.timeout(5):
            await all_arrived.wait()
        return number

    def meet_sync(number: int) -> int:
        barrier.wait(5)
        return number

    body: Any = meet if caller.is_async else meet_sync
    outcome, _ = caller.call(
        lambda ctx: ctx.group.parallel(
            [lambda n=n: ctx.step.run(f"s{n}", body, n) for n in range(3)]
        )
    )

    assert result_of(outcome) == [0, 1, 2]


def test_code_between_steps_of_branches_does_not_overlap(caller: Caller) -> None:
    inside: list[int] = []
    worst: list[int] = []

    def between(number: int) -> None:
        inside.append(number)
        worst.extend(len(inside) for _ in range(200))
        inside.remove(number)

    def branch(ctx: Any, number: int) -> Callable[[], Any]:
        def in_sync() -> None:
            for turn in range(3):
                ctx.step.run(f"{number} {turn}", lambda: None)
                between(number)

        async def in_async() -> None:
            for turn in range(3):
                await ctx.step.run(f"{number} {turn}", lambda: None)
                between(number)

        return in_async if caller.is_async else in_sync

    caller.call(lambda ctx: ctx.group.parallel([branch(ctx, number) for number in range(20)]))

    assert max(worst) == 1
    assert len(worst) == 20 * 3 * 200


def test_failed_branches_are_handed_over_and_their_siblings_are_stored(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [
                failing(ctx, "bad", ValueError("no")),
                step(ctx, "good"),
                failing(ctx, "worse", KeyError("no")),
                chain(ctx, "first", "second"),
            ]
        )
    )

    assert sorted(reports.steps) == ["first", "good", "second"]
    assert named(outcome) == [("StepError", "bad"), ("StepError", "worse")]
    assert not outcome.no_retry


def test_final_failure_of_a_branch_is_told_by_its_operation(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [failing(ctx, "bad", NonRetriableError("no")), step(ctx, "good")]
        )
    )

    assert reports.steps == ["good"]
    [op] = ops_of(outcome)
    assert (op["op"], op["error"]["message"], outcome.no_retry) == ("StepFailed", "no", False)


def test_branches_that_wait_are_handed_over(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [
                lambda: ctx.step.sleep("nap", 1_000),
                chain(ctx, "a", "b"),
                failing(ctx, "bad", ValueError("no")),
            ]
        ),
        PERFORMANT,
    )

    assert reports.steps == ["a", "b"]
    assert sorted(named(outcome)) == [("Sleep", "nap"), ("StepError", "bad")]


def test_error_of_a_branch_is_raised_when_all_have_ended(caller: Caller) -> None:
    async def raises() -> None:
        raise ValueError("no")

    def raises_sync() -> None:
        raise ValueError("no")

    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [raises if caller.is_async else raises_sync, chain(ctx, "a", "b")]
        )
    )

    assert reports.steps == ["a", "b"]
    assert error_of(outcome)["message"] == "no"


def test_failure_for_good_is_raised_in_the_next_call_and_can_be_caught(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        def in_sync() -> str:
            try:
                ctx.step.run("bad", lambda: None)
            except StepError as error:
                return str(error)
            return "not raised"

        async def in_async() -> str:
            try:
                await ctx.step.run("bad", lambda: None)
            except StepError as error:
                return str(error)
            return "not raised"

        return ctx.group.parallel([in_async if caller.is_async else in_sync, step(ctx, "a")])

    outcome, reports = caller.call(
        story, steps=memos(bad={"error": {"name": "E", "message": "gone"}})
    )

    assert reports.steps == ["a"]
    assert result_of(outcome) == ["gone", "ran a"]


@pytest.mark.parametrize("raised", [SystemExit(3), BaseException("odd")])
def test_what_is_no_exception_ends_the_call_and_siblings_are_stored(
    caller: Caller, raised: BaseException
) -> None:
    def leaves() -> Any:
        raise raised

    async def leaves_async() -> Any:
        raise raised

    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [leaves_async if caller.is_async else leaves, chain(ctx, "a", "b")]
        )
    )

    assert reports.steps == ["a", "b"]
    assert error_of(outcome)["name"] == type(raised).__name__


def test_body_that_exits_ends_the_call_and_siblings_are_stored(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel([failing(ctx, "exits", SystemExit(3)), chain(ctx, "a", "b")])
    )

    assert reports.steps == ["a", "b"]
    assert error_of(outcome)["name"] == "SystemExit"


def test_branch_that_was_left_through_a_task_group_of_its_own_holds_up_nobody() -> None:
    caller = Caller(is_async=True, elsewhere=False)

    async def own_tasks(ctx: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ctx.step.sleep("nap", 1_000))

    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel([lambda: own_tasks(ctx), chain(ctx, "a", "b")])
    )

    assert reports.steps == ["a", "b"]
    assert named(outcome) == [("Sleep", "nap")]


def test_groups_inside_groups(caller: Caller) -> None:
    def inner(ctx: Any, name: str) -> Callable[[], Any]:
        return lambda: group_of(ctx, f"{name}1", f"{name}2")

    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [inner(ctx, "a"), inner(ctx, "b"), then(ctx, inner(ctx, "c"), "c3")]
        )
    )

    assert sorted(reports.steps) == ["a1", "a2", "b1", "b2", "c1", "c2", "c3"]
    assert reports.steps.index("c3") > reports.steps.index("c2")
    assert result_of(outcome)[2] == [["ran c1", "ran c2"], "ran c3"]


def test_failure_inside_an_inner_group_leaves_only_its_branch(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [
                lambda: ctx.group.parallel(
                    [failing(ctx, "bad", ValueError("no")), step(ctx, "inner")]
                ),
                chain(ctx, "a", "b"),
            ]
        )
    )

    assert sorted(reports.steps) == ["a", "b", "inner"]
    assert named(outcome) == [("StepError", "bad")]


def test_a_thousand_branches(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: group_of(ctx, *(f"s{number}" for number in range(1_000)))
    )

    assert sorted(reports.steps) == sorted(f"s{number}" for number in range(1_000))
    assert result_of(outcome) == [f"ran s{number}" for number in range(1_000)]


def test_large_outputs_leave_in_several_reports(caller: Caller) -> None:
    large = "x" * (4 * 2**20 - 2)
    sizes: list[int] = []

    def story(ctx: Any) -> Any:
        def in_sync() -> Any:
            group = ctx.group.parallel(
                [lambda n=n: ctx.step.run(f"s{n}", lambda: large) for n in range(4)]
            )
            sizes.extend(map(len, group))

        async def in_async() -> Any:
            group = await ctx.group.parallel(
                [lambda n=n: ctx.step.run(f"s{n}", lambda: large) for n in range(4)]
            )
            sizes.extend(map(len, group))

        return in_async() if caller.is_async else in_sync()

    outcome, reports = caller.call(story)

    assert result_of(outcome) is None
    assert sizes == [len(large)] * 4
    assert [len(report) for report in reports.named] == [1] * 4


def test_too_large_an_output_fails_its_step_alone(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [lambda: ctx.step.run("large", lambda: "x" * (4 * 2**20 + 1)), step(ctx, "a")]
        )
    )

    assert reports.steps == ["a"]
    assert named(outcome) == [("StepFailed", "large")]


def test_step_inside_a_step_is_found_out_in_a_branch_too(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        def inner() -> Any:
            return ctx.step.run("inner", lambda: 1)

        async def outer() -> Any:
            return await inner()

        body: Any = outer if caller.is_async else inner
        return ctx.group.parallel([lambda: ctx.step.run("outer", body), step(ctx, "a")])

    outcome, _ = caller.call(story)

    assert (error_of(outcome)["code"], outcome.no_retry) == ("step_nested", True)


def test_group_inside_a_step_is_found_out(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        async def outer() -> Any:
            return await group_of(ctx, "x")

        body: Any = outer if caller.is_async else (lambda: group_of(ctx, "x"))
        return ctx.step.run("outer", body)

    outcome, _ = caller.call(story)

    assert (error_of(outcome)["code"], outcome.no_retry) == ("step_nested", True)


def test_race_is_planned(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: asked(
            ctx, step(ctx, "a"), lambda: ctx.group.race([step(ctx, "b"), step(ctx, "c")])
        ),
        PERFORMANT,
    )

    assert reports.named == [["a"]]
    assert named(outcome) == [("StepPlanned", "b"), ("StepPlanned", "c")]


def test_race_inside_a_branch_is_planned_and_its_siblings_run(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [lambda: ctx.group.race([step(ctx, "r1"), step(ctx, "r2")]), chain(ctx, "a", "b")]
        )
    )

    assert reports.steps == ["a", "b"]
    assert named(outcome) == [("StepPlanned", "r1"), ("StepPlanned", "r2")]


def test_stale_answer_in_a_group_ends_all_its_branches(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel(
            [chain(ctx, "a1", "a2", "a3"), chain(ctx, "b1", "b2", "b3")]
        ),
        answers=[Answer.STALE],
    )

    assert set(reports.steps) <= {"a1", "b1"}
    assert error_of(outcome)["code"] == "call_stale"


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_step_without_await_in_a_branch_is_found_out() -> None:
    async def careless(ctx: Any) -> None:
        ctx.step.run("lost", lambda: 1)

    outcome, _ = Caller(is_async=True, elsewhere=False).call(
        lambda ctx: ctx.group.parallel([lambda: careless(ctx), step(ctx, "a")])
    )

    assert (error_of(outcome)["code"], outcome.no_retry) == ("step_not_awaited", True)


# --- cancellation ---


def test_call_that_is_cancelled_while_a_report_is_on_its_way_just_ends() -> None:
    held: list[Any] = []
    checkpointer = Checkpointer(SAFE, send=lambda _number, _steps, done: held.append(done))

    async def handler(ctx: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(0, task.cancel)
        return await three(ctx)

    with pytest.raises(asyncio.CancelledError):
        call_async(handler, checkpointer=checkpointer)

    held[0](Answer.STORED)  # nobody waits for it any more
    assert len(held) == 1


def test_interrupt_that_is_swallowed_comes_again(caller: Caller) -> None:
    ran: list[str] = []

    def story(ctx: Any) -> Any:
        def in_sync() -> None:
            for step_id in ("a", "b", "c"):
                try:
                    ctx.step.run(step_id, ran.append, step_id)
                except Interrupt:
                    continue

        async def in_async() -> None:
            for step_id in ("a", "b", "c"):
                try:
                    await ctx.step.run(step_id, ran.append, step_id)
                except Interrupt:
                    continue

        return in_async() if caller.is_async else in_sync()

    outcome, _ = caller.call(story, answers=[Answer.FAILED])

    assert ran == ["a"]
    assert named(outcome) == [("StepRun", "a")]
