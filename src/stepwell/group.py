"""Steps that run at the same time: `ctx.group`, async and sync.

The twins differ only in `await`; what a step means is decided by `execution.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload
from weakref import ref

from stepwell.awaited import StepCall
from stepwell.branches import INTERRUPTED, Branch, Siblings, Turns, run_branches
from stepwell.errors import ConfigError
from stepwell.interrupt import Interrupt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stepwell.execution import Execution, GroupMark
    from stepwell.step import Pending

Mode: TypeAlias = Literal["wait", "race"]

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")


class Group:
    """Steps that run at the same time, in an async function."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @overload
    def parallel(
        self, callables: tuple[Callable[[], Awaitable[T1]]], *, parallel_mode: Mode = "wait"
    ) -> Pending[tuple[T1]]: ...
    @overload
    def parallel(
        self,
        callables: tuple[Callable[[], Awaitable[T1]], Callable[[], Awaitable[T2]]],
        *,
        parallel_mode: Mode = "wait",
    ) -> Pending[tuple[T1, T2]]: ...
    @overload
    def parallel(
        self,
        callables: tuple[
            Callable[[], Awaitable[T1]], Callable[[], Awaitable[T2]], Callable[[], Awaitable[T3]]
        ],
        *,
        parallel_mode: Mode = "wait",
    ) -> Pending[tuple[T1, T2, T3]]: ...
    @overload
    def parallel(
        self,
        callables: tuple[
            Callable[[], Awaitable[T1]],
            Callable[[], Awaitable[T2]],
            Callable[[], Awaitable[T3]],
            Callable[[], Awaitable[T4]],
        ],
        *,
        parallel_mode: Mode = "wait",
    ) -> Pending[tuple[T1, T2, T3, T4]]: ...
    @overload
    def parallel(
        self, callables: Sequence[Callable[[], Awaitable[T]]], *, parallel_mode: Mode = "wait"
    ) -> Pending[tuple[T, ...]]: ...
    def parallel(
        self, callables: Sequence[Callable[[], Awaitable[Any]]], *, parallel_mode: Mode = "wait"
    ) -> Pending[tuple[Any, ...]]:
        """Run the callables as branches and give their results, in order.

        A branch is any code with steps in it, also several one after the other. The steps of
        different branches run at the same time, on any worker; the code between them does not:
        branches take turns. The group ends when every branch has ended.

        Args:
            parallel_mode: `wait`: the function is called again when all steps that were found
                together are over, which takes the fewest calls. `race`: after each of them, so
                that a branch goes on to its next step without waiting for the others.
        Raises:
            Exception: What the first branch that raised has raised, in the order given.
        """
        if not self._execution.watches:
            return self._parallel(None, callables, parallel_mode)
        call = StepCall(self._execution, "group.parallel")
        coroutine = self._parallel(call, callables, parallel_mode)
        call.coroutine = ref(coroutine)
        return coroutine

    @overload
    def race(self, callables: tuple[Callable[[], Awaitable[T1]]]) -> Pending[T1]: ...
    @overload
    def race(
        self, callables: tuple[Callable[[], Awaitable[T1]], Callable[[], Awaitable[T2]]]
    ) -> Pending[T1 | T2]: ...
    @overload
    def race(
        self,
        callables: tuple[
            Callable[[], Awaitable[T1]], Callable[[], Awaitable[T2]], Callable[[], Awaitable[T3]]
        ],
    ) -> Pending[T1 | T2 | T3]: ...
    @overload
    def race(
        self,
        callables: tuple[
            Callable[[], Awaitable[T1]],
            Callable[[], Awaitable[T2]],
            Callable[[], Awaitable[T3]],
            Callable[[], Awaitable[T4]],
        ],
    ) -> Pending[T1 | T2 | T3 | T4]: ...
    @overload
    def race(self, callables: Sequence[Callable[[], Awaitable[T]]]) -> Pending[T]: ...
    def race(self, callables: Sequence[Callable[[], Awaitable[Any]]]) -> Pending[Any]:
        """Run the callables as branches, and give the result of the one that ends first.

        The steps of the others that have begun go on, and what comes of them is not looked at.

        Raises:
            Exception: What that branch raised.
        """
        call = StepCall(self._execution, "group.race")
        coroutine = self._race(call, callables)
        call.coroutine = ref(coroutine)
        return coroutine

    async def _parallel(
        self, call: StepCall | None, callables: Sequence[Callable[[], Awaitable[Any]]], mode: Mode
    ) -> tuple[Any, ...]:
        if call is not None:
            call.begun = True
        execution = self._execution
        race = _is_race(mode)
        callables = _callables("parallel", callables)
        mark = execution.open_group(race=race)
        try:
            branches = await self._run(callables)
            if execution.repeat_group(mark):
                try:
                    branches = await self._run(callables)
                finally:
                    execution.end_second_pass()
        finally:
            execution.leave_group(race=race)
        return _join(execution, mark, branches)

    async def _race(self, call: StepCall, callables: Sequence[Callable[[], Awaitable[T]]]) -> T:
        call.begun = True
        execution = self._execution
        callables = _callables("race", callables)
        if not callables:
            raise ConfigError("a race needs at least one callable: of none, none ends first")
        mark = execution.open_group(race=True, plans=True)
        gathered = execution.gathered
        try:
            branches = await self._run(callables)
            if _winner(branches) is None and execution.repeat_group(mark):
                try:
                    branches = await self._run(callables)
                finally:
                    execution.end_second_pass()
        finally:
            execution.leave_group(race=True, plans=True)
        return _finish(execution, mark, branches, gathered)

    async def _run(self, callables: Sequence[Callable[[], Awaitable[T]]]) -> list[Branch[T]]:
        execution = self._execution
        if execution.runs_together:
            return await run_branches(callables)
        siblings = Siblings() if execution.counts_uses else None
        before = execution.latest
        branches: list[Branch[T]] = []
        for number, call in enumerate(callables):
            execution.latest = before
            if siblings is not None:
                siblings.enter(number)
            try:
                pending = call()
                if execution.passes(pending):
                    branches.append(INTERRUPTED)
                    continue
                value = await pending
                branches.append(Branch(value=value, ended_at=execution.latest))
            except Interrupt:
                branches.append(INTERRUPTED)
                if execution.closed:
                    break
            except Exception as error:  # raised when all branches have ended
                branches.append(Branch(error=error, ended_at=execution.latest))
            finally:
                if siblings is not None:
                    siblings.leave()
        return branches


class GroupSync:
    """Steps that run at the same time, in a sync function."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @overload
    def parallel(
        self, callables: tuple[Callable[[], T1]], *, parallel_mode: Mode = "wait"
    ) -> tuple[T1]: ...
    @overload
    def parallel(
        self,
        callables: tuple[Callable[[], T1], Callable[[], T2]],
        *,
        parallel_mode: Mode = "wait",
    ) -> tuple[T1, T2]: ...
    @overload
    def parallel(
        self,
        callables: tuple[Callable[[], T1], Callable[[], T2], Callable[[], T3]],
        *,
        parallel_mode: Mode = "wait",
    ) -> tuple[T1, T2, T3]: ...
    @overload
    def parallel(
        self,
        callables: tuple[Callable[[], T1], Callable[[], T2], Callable[[], T3], Callable[[], T4]],
        *,
        parallel_mode: Mode = "wait",
    ) -> tuple[T1, T2, T3, T4]: ...
    @overload
    def parallel(
        self, callables: Sequence[Callable[[], T]], *, parallel_mode: Mode = "wait"
    ) -> tuple[T, ...]: ...
    def parallel(
        self, callables: Sequence[Callable[[], Any]], *, parallel_mode: Mode = "wait"
    ) -> tuple[Any, ...]:
        """Run the callables as branches and give their results, in order. See `Group.parallel`.

        Raises:
            Exception: What the first branch that raised has raised, in the order given.
        """
        execution = self._execution
        race = _is_race(parallel_mode)
        callables = _callables("parallel", callables)
        mark = execution.open_group(race=race)
        try:
            branches = self._run(callables)
            if execution.repeat_group(mark):
                try:
                    branches = self._run(callables)
                finally:
                    execution.end_second_pass()
        finally:
            execution.leave_group(race=race)
        return _join(execution, mark, branches)

    @overload
    def race(self, callables: tuple[Callable[[], T1]]) -> T1: ...
    @overload
    def race(self, callables: tuple[Callable[[], T1], Callable[[], T2]]) -> T1 | T2: ...
    @overload
    def race(
        self, callables: tuple[Callable[[], T1], Callable[[], T2], Callable[[], T3]]
    ) -> T1 | T2 | T3: ...
    @overload
    def race(
        self,
        callables: tuple[Callable[[], T1], Callable[[], T2], Callable[[], T3], Callable[[], T4]],
    ) -> T1 | T2 | T3 | T4: ...
    @overload
    def race(self, callables: Sequence[Callable[[], T]]) -> T: ...
    def race(self, callables: Sequence[Callable[[], Any]]) -> Any:
        """Run the callables as branches, and give the result of the one that ends first. See
        `Group.race`.

        Raises:
            Exception: What that branch raised.
        """
        execution = self._execution
        callables = _callables("race", callables)
        if not callables:
            raise ConfigError("a race needs at least one callable: of none, none ends first")
        mark = execution.open_group(race=True, plans=True)
        gathered = execution.gathered
        try:
            branches = self._run(callables)
            if _winner(branches) is None and execution.repeat_group(mark):
                try:
                    branches = self._run(callables)
                finally:
                    execution.end_second_pass()
        finally:
            execution.leave_group(race=True, plans=True)
        return _finish(execution, mark, branches, gathered)

    def _run(self, callables: Sequence[Callable[[], T]]) -> list[Branch[T]]:
        execution = self._execution
        if execution.runs_together:
            if execution.turns is None:
                execution.turns = Turns()
            return execution.turns.run_branches(callables)
        siblings = Siblings() if execution.counts_uses else None
        before = execution.latest
        branches: list[Branch[T]] = []
        for number, call in enumerate(callables):
            execution.latest = before
            if siblings is not None:
                siblings.enter(number)
            try:
                value = call()
                branches.append(Branch(value=value, ended_at=execution.latest))
            except Interrupt:
                branches.append(INTERRUPTED)
                if execution.closed:
                    break
            except Exception as error:  # raised when all branches have ended
                branches.append(Branch(error=error, ended_at=execution.latest))
            finally:
                if siblings is not None:
                    siblings.leave()
        return branches


def _join(
    execution: Execution, mark: GroupMark | None, branches: list[Branch[Any]]
) -> tuple[Any, ...]:
    """The results of a group whose branches have all ended; else leave the function.

    An error waits for the other branches too: their steps were promised to run, and code that
    handles the error may count on them.
    """
    if execution.closed or any(branch.interrupted for branch in branches):
        if mark is not None:
            execution.close()
        raise Interrupt
    # A race round this group goes by the last of the branches.
    execution.latest = max((branch.ended_at for branch in branches), default=execution.latest)
    for branch in branches:
        if branch.error is not None:
            raise branch.error
    return tuple(branch.value for branch in branches)


def _winner(branches: list[Branch[T]]) -> Branch[T] | None:
    """The branch that ended first, by the order in which its steps ended; the same each time."""
    ended = [branch for branch in branches if not branch.interrupted]
    return min(ended, key=lambda branch: branch.ended_at, default=None)


def _finish(
    execution: Execution, mark: GroupMark | None, branches: list[Branch[T]], gathered: int
) -> T:
    """The result of a race; else leave the function."""
    winner = _winner(branches)
    if any(branch.interrupted for branch in branches):
        execution.trailed = True
    if execution.closed or winner is None:
        if mark is not None:
            execution.close()
        raise Interrupt
    execution.drop_gathered(gathered)
    execution.latest = winner.ended_at  # by which a race round this one goes
    if winner.error is not None:
        raise winner.error
    value: T = winner.value  # type: ignore[assignment]  # it ended, with a value
    return value


def _callables(method: str, given: Sequence[Callable[[], T]]) -> tuple[Callable[[], T], ...]:
    """The branches, which may be run twice.

    Raises:
        ConfigError: Some of them cannot be called.
    """
    branches = tuple(given) if isinstance(given, Iterable) else (given,)
    for branch in branches:
        if not callable(branch):
            for each in branches:
                if inspect.iscoroutine(each):
                    each.close()
            raise ConfigError(
                f"{method} takes a list of callables, and got a {type(branch).__name__}; write "
                f"{method}([lambda: ctx.step.run(...), ...])"
            )
    return branches


def _is_race(mode: str) -> bool:
    if mode not in ("wait", "race"):
        raise ConfigError(f"parallel_mode is {mode!r}; it must be 'wait' or 'race'")
    return mode == "race"
