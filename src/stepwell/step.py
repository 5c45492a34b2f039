"""Steps and groups, as functions use them: `ctx.step` and `ctx.group`, async and sync.

The twins differ only in `await`; what a step means is decided by `execution.py`.
"""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    NoReturn,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    overload,
)

import msgspec

from stepwell.awaited import StepCall
from stepwell.errors import ConfigError
from stepwell.execution import MISSING, Execution, GroupMark, Interrupt, StepBody, StepName
from stepwell.wire import ops as op_names
from stepwell.wire.durations import format_duration, format_iso_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from stepwell.event import Event

T = TypeVar("T")
U = TypeVar("U")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
Ts = TypeVarTuple("Ts")

# What an `async def` gives. `object` rather than `Any`, because mypy infers nothing for a call of
# an overloaded function, such as `parallel`, when some argument has `Any` in its type.
Pending: TypeAlias = "Coroutine[object, object, T]"

SendAsync: TypeAlias = "Callable[[Event | Sequence[Event]], Awaitable[list[str]]]"
SendSync: TypeAlias = "Callable[[Event | Sequence[Event]], list[str]]"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEP_RUN = "step.run"
_SEND_EVENT = "step.sendEvent"


class Step:
    """The durable operations of an async function.

    A step runs once: when it has succeeded, its result is remembered, and the step is skipped
    whenever the function is run again. A step that failed for good raises `StepError` where it is
    awaited. Step ids name the results; an id used again gets a result of its own.
    """

    def __init__(self, execution: Execution, send: SendAsync) -> None:
        self._execution = execution
        self._send = send

    @overload
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        output_type: None = None,
    ) -> Pending[T]: ...
    @overload
    def run(
        self, step_id: str, handler: Callable[[*Ts], T], *args: *Ts, output_type: None = None
    ) -> Pending[T]: ...
    @overload
    def run(
        self, step_id: str, handler: Callable[[*Ts], object], *args: *Ts, output_type: type[U]
    ) -> Pending[U]: ...
    @overload
    def run(
        self, step_id: str, handler: Callable[[*Ts], object], *args: *Ts, output_type: object
    ) -> Pending[Any]: ...
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], Any],
        *args: *Ts,
        output_type: Any = None,
    ) -> Pending[Any]:
        """Run `handler(*args)` as a step and give its result, or the remembered one.

        The result is written as JSON. Without `output_type` it comes back as plain JSON values;
        with one it comes back as that type (msgspec structs, dataclasses, pydantic models,
        TypedDicts, and what is built of them). A handler that is not async runs on the event
        loop: one that blocks belongs into a sync function.

        Raises:
            StepError: The step failed for good.
        """
        call = StepCall(self._execution, "step.run", step_id)
        coroutine = self._run(call, step_id, handler, args, output_type)
        call.watch(coroutine)
        return coroutine

    def sleep(self, step_id: str, duration: int | timedelta) -> Pending[None]:
        """Let the run sleep, for milliseconds or a `timedelta`. Nothing is held meanwhile."""
        call = StepCall(self._execution, "step.sleep", step_id)
        coroutine = self._pause(call, step_id, _duration_text, duration)
        call.watch(coroutine)
        return coroutine

    def sleep_until(self, step_id: str, until: datetime) -> Pending[None]:
        """Let the run sleep until an aware `datetime`; one that is past does not wait."""
        call = StepCall(self._execution, "step.sleep_until", step_id)
        coroutine = self._pause(call, step_id, _instant_text, until)
        call.watch(coroutine)
        return coroutine

    def send_event(self, step_id: str, events: Event | Sequence[Event]) -> Pending[list[str]]:
        """Send events as a step.

        Returns:
            Their internal ids, in order.
        Raises:
            StepError: They could not be sent, after the step's retries.
        """
        call = StepCall(self._execution, "step.send_event", step_id)
        coroutine = self._send_event(call, step_id, events)
        call.watch(coroutine)
        return coroutine

    async def _run(
        self,
        call: StepCall,
        step_id: str,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        output_type: Any,
    ) -> Any:
        call.begin()
        execution = self._execution
        name = execution.meet(step_id)
        if not callable(handler):
            raise _no_function(step_id, handler)
        value = execution.recall(name, output_type)
        if value is not MISSING:
            return value
        return await self._execute(name, _STEP_RUN, handler, execution.arguments(name, args))

    async def _send_event(
        self, call: StepCall, step_id: str, events: Event | Sequence[Event]
    ) -> list[str]:
        call.begin()
        execution = self._execution
        name = execution.meet(step_id)
        value: list[str] = execution.recall(name, list[str])
        if value is not MISSING:
            return value
        return await self._execute(name, _SEND_EVENT, self._send, (events,))

    async def _pause(
        self, call: StepCall, step_id: str, text_of: Callable[[U], str], until: U
    ) -> None:
        call.begin()
        execution = self._execution
        text = text_of(until)
        name = execution.meet(step_id)
        if execution.recall(name) is not MISSING:
            return
        if execution.busy:
            await execution.turn()
        execution.report(name, op_names.SLEEP, legacy_name=text)

    async def _execute(
        self, name: StepName, step_type: str, handler: Callable[..., Any], args: tuple[Any, ...]
    ) -> NoReturn:
        execution = self._execution
        if execution.busy:
            await execution.turn()
        execution.begin(name, step_type)
        try:
            with StepBody(execution):
                value = handler(*args)
                if inspect.isawaitable(value):
                    value = await value
        except Exception as error:  # whatever the user's code raises is the step's failure
            execution.failed(name, error)
        except BaseException:
            execution.abandoned()
            raise
        else:
            execution.succeeded(name, step_type, value)
        raise Interrupt


class StepSync:
    """The durable operations of a sync function. See `Step`."""

    def __init__(self, execution: Execution, send: SendSync) -> None:
        self._execution = execution
        self._send = send

    @overload
    def run(
        self, step_id: str, handler: Callable[[*Ts], T], *args: *Ts, output_type: None = None
    ) -> T: ...
    @overload
    def run(
        self, step_id: str, handler: Callable[[*Ts], object], *args: *Ts, output_type: type[U]
    ) -> U: ...
    @overload
    def run(
        self, step_id: str, handler: Callable[[*Ts], object], *args: *Ts, output_type: object
    ) -> Any: ...
    def run(
        self, step_id: str, handler: Callable[[*Ts], Any], *args: *Ts, output_type: Any = None
    ) -> Any:
        """Run `handler(*args)` as a step and give its result, or the remembered one.

        See `Step.run`. An async handler is refused: it needs an async function.

        Raises:
            StepError: The step failed for good.
        """
        execution = self._execution
        name = execution.meet(step_id)
        if not callable(handler):
            raise _no_function(step_id, handler)
        value = execution.recall(name, output_type)
        if value is not MISSING:
            return value
        return self._execute(name, _STEP_RUN, handler, execution.arguments(name, args))

    def sleep(self, step_id: str, duration: int | timedelta) -> None:
        """Let the run sleep, for milliseconds or a `timedelta`. Nothing is held meanwhile."""
        self._pause(step_id, _duration_text(duration))

    def sleep_until(self, step_id: str, until: datetime) -> None:
        """Let the run sleep until an aware `datetime`; one that is past does not wait."""
        self._pause(step_id, _instant_text(until))

    def send_event(self, step_id: str, events: Event | Sequence[Event]) -> list[str]:
        """Send events as a step, and give their internal ids, in order.

        Raises:
            StepError: They could not be sent, after the step's retries.
        """
        execution = self._execution
        name = execution.meet(step_id)
        value: list[str] = execution.recall(name, list[str])
        if value is not MISSING:
            return value
        return self._execute(name, _SEND_EVENT, self._send, (events,))

    def _pause(self, step_id: str, until: str) -> None:
        execution = self._execution
        name = execution.meet(step_id)
        if execution.recall(name) is MISSING:
            execution.report(name, op_names.SLEEP, legacy_name=until)

    def _execute(
        self, name: StepName, step_type: str, handler: Callable[..., Any], args: tuple[Any, ...]
    ) -> NoReturn:
        execution = self._execution
        execution.begin(name, step_type)
        try:
            with StepBody(execution):
                value = handler(*args)
                if inspect.iscoroutine(value):
                    value.close()
                    raise ConfigError(
                        f"the handler of step {name.id!r} is async and its function is not; "
                        "declare the function with `async def`",
                        code="async_unsupported",
                    )
        except Exception as error:  # whatever the user's code raises is the step's failure
            execution.failed(name, error)
        except BaseException:
            execution.abandoned()
            raise
        else:
            execution.succeeded(name, step_type, value)
        raise Interrupt


class _Branch(msgspec.Struct, Generic[T]):
    """How one callable of a group ended: with a value, with an error, or not yet."""

    value: T | None = None
    error: Exception | None = None
    interrupted: bool = False


_INTERRUPTED: Final[_Branch[Any]] = _Branch(interrupted=True)


class Group:
    """Steps that run at the same time, in an async function."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @overload
    def parallel(self, callables: tuple[Callable[[], Awaitable[T1]]]) -> Pending[tuple[T1]]: ...
    @overload
    def parallel(
        self, callables: tuple[Callable[[], Awaitable[T1]], Callable[[], Awaitable[T2]]]
    ) -> Pending[tuple[T1, T2]]: ...
    @overload
    def parallel(
        self,
        callables: tuple[
            Callable[[], Awaitable[T1]], Callable[[], Awaitable[T2]], Callable[[], Awaitable[T3]]
        ],
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
    ) -> Pending[tuple[T1, T2, T3, T4]]: ...
    @overload
    def parallel(
        self, callables: Sequence[Callable[[], Awaitable[T]]]
    ) -> Pending[tuple[T, ...]]: ...
    def parallel(
        self, callables: Sequence[Callable[[], Awaitable[Any]]]
    ) -> Pending[tuple[Any, ...]]:
        """Run the callables as branches and give their results, in order.

        A branch is any code with steps in it, also several one after the other. The steps of
        different branches run at the same time, on any worker; the code between them does not:
        branches take turns. The group ends when every branch has ended.

        Raises:
            Exception: What the first branch that raised has raised, in the order given.
        """
        call = StepCall(self._execution, "group.parallel")
        coroutine = self._parallel(call, callables)
        call.watch(coroutine)
        return coroutine

    async def _parallel(
        self, call: StepCall, callables: Sequence[Callable[[], Awaitable[Any]]]
    ) -> tuple[Any, ...]:
        call.begin()
        execution = self._execution
        mark = execution.open_group()
        try:
            branches = await self._run(callables)
            if execution.repeat_group(mark):
                try:
                    branches = await self._run(callables)
                finally:
                    execution.end_second_pass()
        finally:
            execution.leave_group()
        return _join(execution, mark, branches)

    async def _run(self, callables: Sequence[Callable[[], Awaitable[T]]]) -> list[_Branch[T]]:
        branches: list[_Branch[T]] = []
        for call in callables:
            try:
                branches.append(_Branch(value=await call()))
            except Interrupt:
                branches.append(_INTERRUPTED)
                if self._execution.closed:
                    break
            except Exception as error:  # raised when all branches have ended
                branches.append(_Branch(error=error))
        return branches


class GroupSync:
    """Steps that run at the same time, in a sync function."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @overload
    def parallel(self, callables: tuple[Callable[[], T1]]) -> tuple[T1]: ...
    @overload
    def parallel(self, callables: tuple[Callable[[], T1], Callable[[], T2]]) -> tuple[T1, T2]: ...
    @overload
    def parallel(
        self, callables: tuple[Callable[[], T1], Callable[[], T2], Callable[[], T3]]
    ) -> tuple[T1, T2, T3]: ...
    @overload
    def parallel(
        self,
        callables: tuple[Callable[[], T1], Callable[[], T2], Callable[[], T3], Callable[[], T4]],
    ) -> tuple[T1, T2, T3, T4]: ...
    @overload
    def parallel(self, callables: Sequence[Callable[[], T]]) -> tuple[T, ...]: ...
    def parallel(self, callables: Sequence[Callable[[], Any]]) -> tuple[Any, ...]:
        """Run the callables as branches and give their results, in order. See `Group.parallel`.

        Raises:
            Exception: What the first branch that raised has raised, in the order given.
        """
        execution = self._execution
        mark = execution.open_group()
        try:
            branches = self._run(callables)
            if execution.repeat_group(mark):
                try:
                    branches = self._run(callables)
                finally:
                    execution.end_second_pass()
        finally:
            execution.leave_group()
        return _join(execution, mark, branches)

    def _run(self, callables: Sequence[Callable[[], T]]) -> list[_Branch[T]]:
        branches: list[_Branch[T]] = []
        for call in callables:
            try:
                branches.append(_Branch(value=call()))
            except Interrupt:
                branches.append(_INTERRUPTED)
                if self._execution.closed:
                    break
            except Exception as error:  # raised when all branches have ended
                branches.append(_Branch(error=error))
        return branches


def _join(
    execution: Execution, mark: GroupMark | None, branches: list[_Branch[Any]]
) -> tuple[Any, ...]:
    """The results of a group whose branches have all ended; else leave the function.

    An error waits for the other branches too: their steps were promised to run, and code that
    handles the error may count on them.
    """
    if execution.closed or any(branch.interrupted for branch in branches):
        if mark is not None:
            execution.close()
        raise Interrupt
    for branch in branches:
        if branch.error is not None:
            raise branch.error
    return tuple(branch.value for branch in branches)


def _no_function(step_id: str, given: object) -> ConfigError:
    if inspect.iscoroutine(given):
        given.close()
    return ConfigError(
        f"step {step_id!r} needs a function and was given a {type(given).__name__}; pass the "
        f"function and its arguments, as in run({step_id!r}, charge, order)"
    )


def _duration_text(duration: int | timedelta) -> str:
    if isinstance(duration, timedelta):
        ms = duration // timedelta(milliseconds=1)
    elif isinstance(duration, int) and not isinstance(duration, bool):
        ms = duration
    else:
        raise ConfigError(
            f"a sleep takes whole milliseconds or a timedelta, this is {duration!r}; write "
            "timedelta(hours=1), for example"
        )
    if ms < 0:
        raise ConfigError(f"a sleep of {ms} ms is not possible; it must be 0 or more")
    return format_duration(ms) if ms % 1000 == 0 else f"{ms}ms"


def _instant_text(until: datetime) -> str:
    if not isinstance(until, datetime):
        raise ConfigError(f"sleep_until takes an aware datetime, this is {until!r}")
    if until.tzinfo is None:
        raise ConfigError("sleep_until needs an aware datetime; pass tzinfo")
    return format_iso_ms((until - _EPOCH) // timedelta(milliseconds=1))
