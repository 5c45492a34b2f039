"""Which result belongs to which branch, whatever the timing; and who runs when."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.branches import THREADS_MAX, Turns
from stepwell.checkpointing import SAFE
from tests.unit.calls import error_of, memos, named, result_of
from tests.unit.reports import Caller
from tests.unit.test_group import chain, step, then

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=[True, False], ids=["async", "sync"])
def caller(request: pytest.FixtureRequest) -> Caller:
    return Caller(is_async=request.param, elsewhere=True)


def used(ctx: Any, step_id: str, value: object) -> Callable[[], Any]:
    """A step whose result tells from which branch it is."""
    return lambda: ctx.step.run(step_id, lambda: value)


# --- ids that are used again ---


def test_first_steps_with_one_id_count_in_the_order_of_the_branches(caller: Caller) -> None:
    group = lambda ctx: ctx.group.parallel(  # noqa: E731 - one expression
        [used(ctx, "same", number) for number in range(5)]
    )
    outcome, _ = caller.call(group)
    again = memos(**{f"same__{n}" if n else "same": {"data": n} for n in range(5)})

    assert result_of(outcome) == [0, 1, 2, 3, 4]
    for options in ({}, {"attempt": 1}, {"plan_only": True}):
        assert result_of(caller.call(group, SAFE, again, **options)[0]) == [0, 1, 2, 3, 4]


def test_order_of_the_branches_stands_although_one_awaits_before_its_first_step() -> None:
    def group(ctx: Any) -> Any:
        slept = asyncio.Event()

        async def late() -> Any:
            asyncio.get_running_loop().call_later(0.01, slept.set)
            await slept.wait()
            return await ctx.step.run("same", lambda: "first")

        return ctx.group.parallel([late, used(ctx, "same", "second")])

    outcome, reports = Caller(is_async=True, elsewhere=False).call(group)

    assert result_of(outcome) == ["first", "second"]
    ops = [op for report in reports.taken for op in report]
    by_index = {op["userland"].get("index", 0): op["data"] for op in ops}
    assert by_index == {0: "first", 1: "second"}


def test_branch_that_ends_without_a_step_holds_up_nobody(caller: Caller) -> None:
    async def nothing() -> int:
        return 0

    outcome, _ = caller.call(
        lambda ctx: ctx.group.parallel([nothing if caller.is_async else (lambda: 0)] * 3)
    )

    assert result_of(outcome) == [0, 0, 0]


def ambiguous(ctx: Any) -> Any:
    return ctx.group.parallel([chain(ctx, "a", "same"), chain(ctx, "b", "same")])


def test_later_steps_with_one_id_are_refused(caller: Caller) -> None:
    outcome, _ = caller.call(ambiguous)

    assert (error_of(outcome)["code"], outcome.no_retry) == ("step_id_ambiguous", True)


def test_catching_the_refusal_does_not_help(caller: Caller) -> None:
    def story(ctx: Any) -> Any:
        def in_sync() -> Any:
            try:
                return ambiguous(ctx)
            except Exception:
                return "caught"

        async def in_async() -> Any:
            try:
                return await ambiguous(ctx)
            except Exception:
                return "caught"

        return in_async() if caller.is_async else in_sync()

    outcome, _ = caller.call(story)

    assert error_of(outcome)["code"] == "step_id_ambiguous"


@pytest.mark.parametrize("options", [{"attempt": 1}, {"plan_only": True}])
def test_calls_that_do_not_go_on_refuse_them_too(caller: Caller, options: dict[str, Any]) -> None:
    # The second branch's `same` was stored by a call in which the first one had not come to its
    # own: one after the other, the first branch would take it for its.
    stored = memos(a={"data": 1}, b={"data": 2}, same={"data": "the second branch's"})
    outcome, _ = caller.call(ambiguous, SAFE, stored, **options)

    assert (error_of(outcome)["code"], outcome.no_retry) == ("step_id_ambiguous", True)


def test_call_for_one_step_refuses_them_too(caller: Caller) -> None:
    outcome, _ = caller.call(
        lambda ctx: ctx.group.parallel(
            [step(ctx, "same"), chain(ctx, "b", "same"), step(ctx, "aim")]
        ),
        SAFE,
        memos(b={"data": 1}),
        target="aim",
    )

    assert error_of(outcome)["code"] == "step_id_ambiguous"


def test_without_checkpointing_they_count_in_the_order_of_the_branches() -> None:
    from tests.unit.calls import call_both

    outcome = call_both(
        ambiguous,
        memos(a={"data": 1}, b={"data": 2}, same={"data": 3}, same__1={"data": 4}),
    )

    assert result_of(outcome) == [[1, 3], [2, 4]]


def test_step_after_an_inner_group_is_not_the_first_of_its_branch(caller: Caller) -> None:
    outcome, _ = caller.call(
        lambda ctx: ctx.group.parallel(
            [
                then(ctx, lambda: ctx.group.parallel([step(ctx, "inner")]), "same"),
                step(ctx, "same"),
            ]
        )
    )

    assert error_of(outcome)["code"] == "step_id_ambiguous"


def test_steps_of_inner_groups_of_different_branches_are_refused(caller: Caller) -> None:
    outcome, _ = caller.call(
        lambda ctx: ctx.group.parallel(
            [lambda: ctx.group.parallel([step(ctx, "same")]) for _ in range(2)]
        )
    )

    assert error_of(outcome)["code"] == "step_id_ambiguous"


def test_groups_one_after_the_other_may_use_one_id(caller: Caller) -> None:
    def twice(ctx: Any, *names: str) -> Callable[[], Any]:
        def group() -> Any:
            return ctx.group.parallel([step(ctx, name) for name in names])

        def in_sync() -> Any:
            return [group(), group()]

        async def in_async() -> Any:
            return [await group(), await group()]

        return in_async if caller.is_async else in_sync

    outer, reports = caller.call(lambda ctx: twice(ctx, "same", "same")())
    assert (len(reports.steps), outer.kind) == (4, "result")
    inner, reports = caller.call(lambda ctx: ctx.group.parallel([twice(ctx, "x"), step(ctx, "y")]))
    assert (sorted(reports.steps), inner.kind) == (["x", "x", "y"], "result")


def test_one_branch_may_use_an_id_again(caller: Caller) -> None:
    outcome, reports = caller.call(
        lambda ctx: ctx.group.parallel([chain(ctx, "x", "x", "x"), step(ctx, "y")])
    )

    assert sorted(reports.steps) == ["x", "x", "x", "y"]
    assert outcome.kind == "result"


# --- who runs when ---


def test_branches_have_contexts_of_their_own(caller: Caller) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    def branch(ctx: Any, number: int) -> Callable[[], Any]:
        def in_sync() -> list[str]:
            before = variable.get()
            variable.set(f"branch {number}")
            inside = ctx.step.run(f"s{number}", variable.get)
            return [before, inside, variable.get()]

        async def in_async() -> list[str]:
            before = variable.get()
            variable.set(f"branch {number}")
            inside = await ctx.step.run(f"s{number}", variable.get)
            return [before, inside, variable.get()]

        return in_async if caller.is_async else in_sync

    outcome, _ = caller.call(lambda ctx: ctx.group.parallel([branch(ctx, n) for n in range(3)]))

    assert result_of(outcome) == [["outside", *[f"branch {n}"] * 2] for n in range(3)]
    assert variable.get() == "outside"


def test_more_branches_than_threads_reuse_them(caller: Caller) -> None:
    names: set[str] = set()

    def body() -> None:
        names.add(threading.current_thread().name)

    caller.call(
        lambda ctx: ctx.group.parallel(
            [lambda n=n: ctx.step.run(f"s{n}", body) for n in range(3 * THREADS_MAX)]
        )
    )

    assert 1 <= len(names) <= THREADS_MAX


def test_no_thread_is_left_when_a_group_has_ended() -> None:
    before = set(threading.enumerate())

    Caller(is_async=False, elsewhere=False).call(
        lambda ctx: ctx.group.parallel([step(ctx, f"s{n}") for n in range(100)])
    )

    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_system_without_threads_fails_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    outcome, _ = Caller(is_async=False, elsewhere=False).call(
        lambda ctx: ctx.group.parallel([step(ctx, "a")])
    )

    assert error_of(outcome)["message"] == "can't start new thread"


def test_few_threads_run_all_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_two(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    outcome, _ = Caller(is_async=False, elsewhere=False).call(
        lambda ctx: ctx.group.parallel([chain(ctx, f"a{n}", f"b{n}") for n in range(50)])
    )

    assert result_of(outcome) == [[f"ran a{n}", f"ran b{n}"] for n in range(50)]
    assert len(started) == 2


def test_branch_that_hangs_does_not_keep_the_process() -> None:
    script = """
import threading
from stepwell.branches import Turns
hangs = threading.Event()
def hang():
    hangs.set()
    threading.Event().wait()
threading.Thread(target=lambda: Turns().run_branches([hang]), daemon=True).start()
hangs.wait()
"""
    ended = subprocess.run([sys.executable, "-c", script], timeout=15, check=True)

    assert ended.returncode == 0


def test_interrupt_of_the_main_thread_does_not_wait_for_its_own_turn() -> None:
    turns = Turns()
    begun = threading.Event()
    go_on = threading.Event()

    def branch() -> None:
        with turns.pause():
            begun.set()
            go_on.wait(5)

    class Leaving(Exception):
        pass

    wait = threading.Event.wait

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout is None and threading.current_thread() is threading.main_thread():
            wait(begun, 5)
            go_on.set()
            raise Leaving
        return wait(event, timeout)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(Leaving):
            turns.run_branches([branch, branch])


def test_group_without_branches_is_over_at_once(caller: Caller) -> None:
    outcome, reports = caller.call(lambda ctx: ctx.group.parallel([]))

    assert (result_of(outcome), reports.taken) == ([], [])


def test_second_pass_of_a_group_counts_its_uses_anew(caller: Caller) -> None:
    # A call that does not go on meets its only new step twice.
    outcome, _ = caller.call(
        lambda ctx: ctx.group.parallel([chain(ctx, "a", "b"), step(ctx, "c")]),
        SAFE,
        memos(a={"data": 1}, c={"data": 3}),
        attempt=1,
    )

    assert named(outcome) == [("StepRun", "b")]
