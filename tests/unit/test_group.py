"""Races, and groups whose branches do not wait for one another."""

from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import NonRetriableError, StepError
from tests.unit.calls import (
    call_async,
    call_both,
    call_sync,
    error_of,
    memos,
    named,
    ops_of,
    result_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepwell.context import Context, ContextSync
    from stepwell.outcome import Outcome

ORDERS = [
    order
    for order in permutations(("a1", "a2", "b1", "b2"))
    if order.index("a1") < order.index("a2") and order.index("b1") < order.index("b2")
]


def step(ctx: Any, step_id: str) -> Callable[[], Any]:
    """A branch that is one step."""
    return lambda: ctx.step.run(step_id, lambda: f"ran {step_id}")


def chain(ctx: Any, *step_ids: str) -> Callable[[], Any]:
    """A branch of several steps in a row, which gives their results."""

    def in_sync() -> list[Any]:
        return [step(ctx, step_id)() for step_id in step_ids]

    async def in_async() -> list[Any]:
        return [await step(ctx, step_id)() for step_id in step_ids]

    return in_async if _is_async(ctx) else in_sync


def then(ctx: Any, first: Callable[[], Any], *step_ids: str) -> Callable[[], Any]:
    """A branch that goes on with steps after something else."""

    def in_sync() -> list[Any]:
        return [first(), *chain(ctx, *step_ids)()]

    async def in_async() -> list[Any]:
        return [await first(), *(await chain(ctx, *step_ids)())]

    return in_async if _is_async(ctx) else in_sync


def fails(ctx: Any, error: Exception) -> Callable[[], Any]:
    """A branch without a step, which raises."""

    def in_sync() -> Any:
        raise error

    async def in_async() -> Any:
        raise error

    return in_async if _is_async(ctx) else in_sync


def _is_async(ctx: Any) -> bool:
    return type(ctx).__name__ == "Context"


def two(ctx: Any) -> Any:
    return ctx.group.race((step(ctx, "a"), step(ctx, "b")))


def chains(ctx: Any) -> Any:
    return ctx.group.race((chain(ctx, "a1", "a2"), chain(ctx, "b1", "b2")))


def raced(
    story: Callable[[Any], Any],
    done: Sequence[str] = (),
    failed: Sequence[str] = (),
    **options: Any,
) -> Outcome:
    """A call after the steps of `done` have ended in this order, some of them badly."""
    steps: dict[str, Any] = {step_id: {"data": f"memo {step_id}"} for step_id in done}
    steps |= {step_id: {"error": {"name": "E", "message": step_id}} for step_id in failed}
    return call_both(story, memos(**steps), stack=done, **options)


# --- what a race reports ---


def test_steps_of_a_race_are_planned_together_and_say_so() -> None:
    outcome = raced(two)

    assert named(outcome) == [("StepPlanned", "a"), ("StepPlanned", "b")]
    for op in ops_of(outcome):
        assert op["opts"] == {"type": "step.run", "parallelMode": "race"}


def test_operations_without_options_say_that_they_race_too() -> None:
    [op, _] = ops_of(
        raced(lambda ctx: ctx.group.race((lambda: ctx.step.sleep("nap", 1), step(ctx, "a"))))
    )

    assert (op["op"], op["opts"]) == ("Sleep", {"parallelMode": "race"})


def test_call_for_one_step_of_a_race_runs_it() -> None:
    assert named(raced(two, target="b")) == [("StepRun", "b")]
    assert named(raced(two, target="b", plan_only=True)) == [("StepRun", "b")]


def test_call_for_a_loser_s_step_runs_it_after_the_race_is_over() -> None:
    assert named(raced(two, ["a"], target="b", plan_only=True)) == [("StepRun", "b")]
    assert named(raced(two, ["b"], target="a", plan_only=True)) == [("StepRun", "a")]
    chained = raced(chains, ["b1", "a1", "b2"], target="a2", plan_only=True)
    assert named(chained) == [("StepRun", "a2")]


def test_only_new_step_of_a_race_runs_at_once() -> None:
    alone = lambda ctx: ctx.group.race((step(ctx, "a"),))  # noqa: E731 - one expression

    assert named(raced(alone)) == [("StepRun", "a")]
    assert named(raced(alone, plan_only=True)) == [("StepPlanned", "a")]


def test_branch_of_a_race_goes_on_while_others_have_steps_to_end() -> None:
    assert named(raced(chains, ["a1"])) == [("StepPlanned", "a2"), ("StepPlanned", "b1")]
    assert named(raced(chains, ["a1"], plan_only=True)) == [
        ("StepPlanned", "a2"),
        ("StepPlanned", "b1"),
    ]


def test_function_goes_on_after_a_race_without_the_losers() -> None:
    story = lambda ctx: then(ctx, partial(two, ctx), "after")()  # noqa: E731

    [op] = ops_of(raced(story, ["b"]))
    assert (op["op"], op["userland"]["id"]) == ("StepRun", "after")
    assert "parallelMode" not in op["opts"]
    [op] = ops_of(raced(story, ["b", "a"], plan_only=True))
    assert (op["op"], op["opts"]) == ("StepPlanned", {"type": "step.run"})
    assert result_of(raced(story, ["b", "after", "a"])) == ["memo b", "memo after"]


def test_steps_after_a_race_do_not_wait_for_its_losers() -> None:
    """The server waits for all steps that are under way, but for those that say that they race."""

    def step_then_nap(ctx: Any) -> Any:
        nap = lambda: ctx.step.sleep("nap", 1)  # noqa: E731
        return ctx.group.parallel((nap, then(ctx, partial(two, ctx), "after")))

    for op in ops_of(raced(step_then_nap, ["b"])):
        assert op["opts"]["parallelMode"] == "race"
    assert named(raced(step_then_nap, ["b"])) == [("Sleep", "nap"), ("StepPlanned", "after")]
    for op in ops_of(raced(step_then_nap, ["b", "a"])):
        assert "parallelMode" not in (op["opts"] or {})

    story = lambda ctx: then(ctx, partial(two, ctx), "after")()  # noqa: E731
    [op] = ops_of(raced(story, ["b"], plan_only=True))
    assert op["opts"] == {"type": "step.run", "parallelMode": "race"}


def test_call_for_a_step_behind_a_race_passes_its_losers() -> None:
    story = lambda ctx: then(ctx, partial(two, ctx), "after")()  # noqa: E731

    assert named(raced(story, ["b"], target="after")) == [("StepRun", "after")]
    assert error_of(raced(story, target="after"))["code"] == "step_unexpected"


# --- who wins ---


@pytest.mark.parametrize(("done", "winner"), [("a", "a"), ("b", "b"), ("ab", "a"), ("ba", "b")])
def test_first_step_to_end_wins(done: str, winner: str) -> None:
    assert result_of(raced(two, list(done))) == f"memo {winner}"


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_branch_whose_last_step_ends_first_wins_and_stays_the_winner(order: Sequence[str]) -> None:
    ends = min(order.index("a2"), order.index("b2"))
    winner = order[ends][0]

    for known in range(ends + 1, 5):  # also when the loser's steps end later
        assert result_of(raced(chains, order[:known])) == [f"memo {winner}1", f"memo {winner}2"]


def test_steps_before_a_race_count_for_no_branch() -> None:
    def story(ctx: Any) -> Any:
        async def in_async() -> list[Any]:
            return [await step(ctx, "before")(), await two(ctx)]

        return in_async() if _is_async(ctx) else [step(ctx, "before")(), two(ctx)]

    assert result_of(raced(story, ["before", "b", "a"])) == ["memo before", "memo b"]


def test_race_that_follows_a_race_has_a_winner_of_its_own() -> None:
    def pair(ctx: Any, *names: str) -> Any:
        return ctx.group.race(tuple(step(ctx, name) for name in names))

    def story(ctx: Any) -> Any:
        async def in_async() -> list[Any]:
            return [await pair(ctx, "a", "b"), await pair(ctx, "c", "d")]

        if _is_async(ctx):
            return in_async()
        return [pair(ctx, "a", "b"), pair(ctx, "c", "d")]

    assert result_of(raced(story, ["b", "d", "c", "a"])) == ["memo b", "memo d"]
    # The first race's loser ends last of all, and was never looked at.
    assert result_of(raced(story, ["a", "d", "b", "c"])) == ["memo a", "memo d"]


def test_branch_without_steps_ends_first() -> None:
    def story(ctx: Any) -> Any:
        async def value() -> str:
            return "at once"

        at_once = value if _is_async(ctx) else lambda: "at once"
        return ctx.group.race((step(ctx, "a"), at_once))

    assert result_of(raced(story)) == "at once"
    assert result_of(raced(story, ["a"])) == "at once"


def test_server_that_tells_no_order_leaves_that_of_the_branches() -> None:
    steps = memos(a={"data": 1}, b={"data": 2})

    assert result_of(call_both(two, steps)) == 1


def test_race_with_a_sleep_is_a_deadline() -> None:
    def story(ctx: Any) -> Any:
        return ctx.group.race((step(ctx, "slow"), lambda: ctx.step.sleep("nap", 1)))

    assert result_of(call_both(story, memos(nap=None), stack=["nap"])) is None
    steps = memos(nap=None, slow={"data": "late"})
    assert result_of(call_both(story, steps, stack=["nap", "slow"])) is None
    assert result_of(call_both(story, steps, stack=["slow", "nap"])) == "late"


# --- errors ---


def test_failed_step_ends_its_branch_and_may_win() -> None:
    assert error_of(raced(two, ["b"], failed=["b"]))["message"] == "b"
    assert error_of(raced(two, ["b", "a"], failed=["b"]))["message"] == "b"


def test_error_of_a_loser_is_not_looked_at() -> None:
    assert result_of(raced(two, ["a", "b"], failed=["b"])) == "memo a"
    assert result_of(raced(two, ["b", "a"], failed=["a"])) == "memo b"


def test_winner_s_error_can_be_caught() -> None:
    async def handler(ctx: Context) -> str:
        try:
            return str(await two(ctx))
        except StepError as error:
            return f"caught {error}"

    def handler_sync(ctx: ContextSync) -> str:
        try:
            return str(two(ctx))
        except StepError as error:
            return f"caught {error}"

    steps = memos(b={"error": {"name": "E", "message": "m"}})
    assert result_of(call_async(handler, steps, stack=["b"])) == "caught m"
    assert result_of(call_sync(handler_sync, steps, stack=["b"])) == "caught m"


def test_error_that_a_branch_catches_is_not_its_end() -> None:
    def story(ctx: Any) -> Any:
        def in_sync() -> str:
            try:
                return str(step(ctx, "a1")())
            except StepError:
                return str(step(ctx, "a2")())

        async def in_async() -> str:
            try:
                return str(await step(ctx, "a1")())
            except StepError:
                return str(await step(ctx, "a2")())

        return ctx.group.race((in_async if _is_async(ctx) else in_sync, step(ctx, "b")))

    failed = ["a1"]
    assert named(raced(story, ["a1"], failed)) == [("StepPlanned", "a2"), ("StepPlanned", "b")]
    assert result_of(raced(story, ["a1", "b", "a2"], failed)) == "memo b"
    assert result_of(raced(story, ["a1", "a2", "b"], failed)) == "memo a2"


def test_branch_that_raises_at_once_wins_with_its_error() -> None:
    outcome = raced(
        lambda ctx: ctx.group.race((step(ctx, "a"), fails(ctx, NonRetriableError("no")))), ["a"]
    )

    assert error_of(outcome)["message"] == "no"
    assert outcome.no_retry


# --- groups in groups ---


def test_race_in_a_parallel_group_ends_its_branch() -> None:
    def story(ctx: Any) -> Any:
        return ctx.group.parallel((partial(two, ctx), step(ctx, "c")))

    assert named(raced(story)) == [
        ("StepPlanned", "a"),
        ("StepPlanned", "b"),
        ("StepPlanned", "c"),
    ]
    for op in ops_of(raced(story)):
        assert op["opts"]["parallelMode"] == "race"
    assert result_of(raced(story, ["b", "c"])) == ["memo b", "memo c"]


def test_only_new_step_beside_a_race_that_is_over_is_the_one_that_runs() -> None:
    """A loser that is still on its way comes before it, and must not run a second time."""

    def beside(ctx: Any) -> Any:
        return ctx.group.parallel((partial(two, ctx), step(ctx, "c")))

    def behind(ctx: Any) -> Any:
        return ctx.group.parallel((then(ctx, partial(two, ctx), "c"),))

    for story in (beside, behind):
        assert named(raced(story, ["b"])) == [("StepRun", "c")]
        assert named(raced(story, ["b"], plan_only=True)) == [("StepPlanned", "c")]


def test_parallel_group_in_a_race_ends_with_its_last_step() -> None:
    def story(ctx: Any) -> Any:
        both = lambda: ctx.group.parallel((step(ctx, "a"), step(ctx, "b")))  # noqa: E731
        return ctx.group.race((both, step(ctx, "c")))

    assert named(raced(story, ["a"])) == [("StepPlanned", "b"), ("StepPlanned", "c")]
    assert result_of(raced(story, ["a", "c", "b"])) == "memo c"
    assert result_of(raced(story, ["a", "b", "c"])) == ["memo a", "memo b"]


def test_race_in_a_race_ends_with_its_winner() -> None:
    def story(ctx: Any) -> Any:
        return ctx.group.race((partial(two, ctx), chain(ctx, "c1", "c2")))

    assert result_of(raced(story, ["c1", "b", "c2", "a"])) == "memo b"
    assert result_of(raced(story, ["c1", "c2", "b", "a"])) == ["memo c1", "memo c2"]
    # The inner race's loser ended after `c2`, and does not count.
    assert result_of(raced(story, ["b", "c1", "c2", "a"])) == "memo b"
    assert result_of(raced(story, ["a", "c1", "c2", "b"])) == "memo a"


def test_call_for_a_step_deep_in_groups_runs_it() -> None:
    def story(ctx: Any) -> Any:
        both = lambda: ctx.group.parallel((step(ctx, "a"), partial(two_more, ctx)))  # noqa: E731
        return ctx.group.race((both, step(ctx, "d")))

    def two_more(ctx: Any) -> Any:
        return ctx.group.race((step(ctx, "b"), step(ctx, "c")))

    for target in "abcd":
        assert named(raced(story, target=target, plan_only=True)) == [("StepRun", target)]
    assert named(raced(story, ["d"], target="c", plan_only=True)) == [("StepRun", "c")]


def test_id_used_in_two_branches_of_a_race_names_two_steps() -> None:
    def story(ctx: Any) -> Any:
        return ctx.group.race((step(ctx, "a"), step(ctx, "a")))

    assert [op["userland"] for op in ops_of(raced(story))] == [
        {"id": "a"},
        {"id": "a", "index": 1},
    ]
    steps = memos(a={"data": "first"}, a__1={"data": "second"})
    assert result_of(call_both(story, steps, stack=["a:1", "a"])) == "second"


# --- parallel_mode ---


def test_branches_that_do_not_wait_go_on_by_themselves() -> None:
    def story(ctx: Any, mode: Any = "race") -> Any:
        branches = (chain(ctx, "a1", "a2"), chain(ctx, "b1", "b2"))
        return ctx.group.parallel(branches, parallel_mode=mode)

    assert named(raced(story, ["a1"])) == [("StepPlanned", "a2"), ("StepPlanned", "b1")]
    for op in ops_of(raced(story)):
        assert op["opts"]["parallelMode"] == "race"
    for op in ops_of(raced(partial(story, mode="wait"))):
        assert "parallelMode" not in op["opts"]
    assert result_of(raced(story, ["a1", "a2", "b1", "b2"])) == [
        ["memo a1", "memo a2"],
        ["memo b1", "memo b2"],
    ]


def test_error_waits_for_branches_that_do_not_wait_for_one_another() -> None:
    def story(ctx: Any) -> Any:
        return ctx.group.parallel((step(ctx, "a"), step(ctx, "b")), parallel_mode="race")

    assert named(raced(story, ["a"], failed=["a"])) == [("StepRun", "b")]
    assert error_of(raced(story, ["a", "b"], failed=["a"]))["message"] == "a"


def test_steps_after_a_group_do_not_say_that_they_race() -> None:
    def story(ctx: Any) -> Any:
        first = lambda: ctx.group.parallel((step(ctx, "a"),), parallel_mode="race")  # noqa: E731
        return then(ctx, first, "after")()

    [op] = ops_of(raced(story, ["a"], plan_only=True))
    assert op["opts"] == {"type": "step.run"}


# --- mistakes ---


@pytest.mark.parametrize("mode", [None, "any", "WAIT"])
def test_mode_is_one_of_two_words(mode: Any) -> None:
    outcome = call_both(lambda ctx: ctx.group.parallel((), parallel_mode=mode))

    assert "it must be 'wait' or 'race'" in error_of(outcome)["message"]
    assert outcome.no_retry


def test_race_of_none_is_a_mistake() -> None:
    outcome = call_both(lambda ctx: ctx.group.race(()))

    assert error_of(outcome)["message"].startswith("a race needs at least one callable")
    assert outcome.no_retry


@pytest.mark.parametrize("method", ["parallel", "race"])
@pytest.mark.parametrize("callables", [5, [5], ["a"], "ab", [int, None]])
def test_branches_are_callables(method: str, callables: Any) -> None:
    outcome = call_both(lambda ctx: getattr(ctx.group, method)(callables))

    assert f"{method} takes a list of callables" in error_of(outcome)["message"]
    assert outcome.no_retry


@pytest.mark.parametrize("method", ["parallel", "race"])
def test_steps_in_place_of_callables_are_told(method: str) -> None:
    async def handler(ctx: Context) -> None:
        await getattr(ctx.group, method)([ctx.step.run("a", int), ctx.step.sleep("b", 1)])

    error = error_of(call_async(handler))

    assert error["message"].startswith(f"{method} takes a list of callables, and got a coroutine")


@pytest.mark.parametrize("method", ["parallel", "race"])
def test_one_callable_in_place_of_a_list_is_taken_as_the_only_one(method: str) -> None:
    outcome = call_both(lambda ctx: getattr(ctx.group, method)(step(ctx, "a")))

    assert named(outcome) == [("StepRun", "a")]


@pytest.mark.parametrize("method", ["parallel", "race"])
def test_callables_that_can_be_gone_through_once_are_enough(method: str) -> None:
    def story(ctx: Any) -> Any:
        return getattr(ctx.group, method)(step(ctx, name) for name in ("a",))

    assert named(call_both(story)) == [("StepRun", "a")]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_race_wants_its_await() -> None:
    async def handler(ctx: Context) -> None:
        ctx.group.race((lambda: ctx.step.run("a", int),))  # type: ignore[unused-coroutine]

    error = error_of(call_async(handler))
    assert error["code"] == "step_not_awaited"
    assert "`await ctx.group.race(...)`" in error["message"]


def test_bare_except_round_a_race_runs_nothing_after_it() -> None:
    async def handler(ctx: Context) -> str:
        try:
            await two(ctx)
        except BaseException:
            await ctx.step.run("after", int)
        return "went on"

    assert named(call_async(handler)) == [("StepPlanned", "a"), ("StepPlanned", "b")]
