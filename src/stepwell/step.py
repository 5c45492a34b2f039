"""Steps as async functions use them: `ctx.step`. What a step means is decided by `execution.py`.

The twin for sync functions is `step_sync.py`; it differs only in `await`.
"""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, TypeVarTuple, overload
from weakref import ref

from stepwell import step_options as options
from stepwell.ai import inference, read_inference
from stepwell.awaited import StepCall
from stepwell.deferring import defer
from stepwell.event import event_name, read_awaited_event
from stepwell.execution import MISSING, Execution, StepBody, StepName
from stepwell.interrupt import Interrupt
from stepwell.step_types import AI_WRAP, SEND_EVENT, SEND_SIGNAL, STEP_RUN, no_function

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from datetime import datetime, timedelta

    from stepwell.ai import Adapter
    from stepwell.deferring import Deferred
    from stepwell.event import Event, EventType
    from stepwell.function import Function
    from stepwell.step_options import Asked, FetchResponse, Signal
    from stepwell.step_types import Doors

D = TypeVar("D")
T = TypeVar("T")
U = TypeVar("U")
Ts = TypeVarTuple("Ts")

# What an `async def` gives. `object` rather than `Any`, because mypy infers nothing for a call of
# an overloaded function, such as `parallel`, when some argument has `Any` in its type.
Pending: TypeAlias = "Coroutine[object, object, T]"


class Step:
    """The durable operations of an async function.

    A step runs once: when it has succeeded, its result is remembered, and the step is skipped
    whenever the function is run again. A step that failed for good raises `StepError` where it is
    awaited. Step ids name the results; an id used again gets a result of its own.
    """

    def __init__(self, execution: Execution, doors: Doors, app_id: str = "") -> None:
        self._execution = execution
        self._doors = doors
        self._app_id = app_id

    @overload
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        output_type: None = None,
        durable: bool = False,
    ) -> Pending[T]: ...
    @overload
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], T],
        *args: *Ts,
        output_type: None = None,
        durable: bool = False,
    ) -> Pending[T]: ...
    @overload
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], object],
        *args: *Ts,
        output_type: type[U],
        durable: bool = False,
    ) -> Pending[U]: ...
    @overload
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], object],
        *args: *Ts,
        output_type: object,
        durable: bool = False,
    ) -> Pending[Any]: ...
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], Any],
        *args: *Ts,
        output_type: Any = None,
        durable: bool = False,
    ) -> Pending[Any]:
        """Run `handler(*args)` as a step and give its result, or the remembered one.

        The result is written as JSON. Without `output_type` it comes back as plain JSON values;
        with one it comes back as that type (msgspec structs, dataclasses, pydantic models,
        TypedDicts, and what is built of them). A handler that is not async runs on the event
        loop: one that blocks belongs into a sync function.

        Args:
            durable: With checkpointing: the function goes on when this step is stored, whatever
                the buffer has room for. Without, that is always so.
        Raises:
            StepError: The step failed for good.
        """
        execution = self._execution
        if not execution.watches:
            coroutine = self._run(None, step_id, STEP_RUN, handler, args, output_type, durable)
            execution.offered = (coroutine, step_id)
            return coroutine
        call = StepCall(execution, "step.run", step_id)
        coroutine = self._run(call, step_id, STEP_RUN, handler, args, output_type, durable)
        call.coroutine = ref(coroutine)
        return coroutine

    def sleep(self, step_id: str, duration: int | timedelta) -> Pending[None]:
        """Let the run sleep, for milliseconds or a `timedelta`. Nothing is held meanwhile."""
        return self._ask("step.sleep", step_id, lambda: options.sleep_for(duration), _nothing)

    def sleep_until(self, step_id: str, until: datetime) -> Pending[None]:
        """Let the run sleep until an aware `datetime`; one that is past does not wait."""
        return self._ask("step.sleep_until", step_id, lambda: options.sleep_until(until), _nothing)

    @overload
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: str,
        if_exp: str | None = None,
        timeout: int | timedelta,
    ) -> Pending[Event | None]: ...
    @overload
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: EventType[D],
        if_exp: str | None = None,
        timeout: int | timedelta,
    ) -> Pending[Event[D] | None]: ...
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: str | EventType[Any],
        if_exp: str | None = None,
        timeout: int | timedelta,
    ) -> Pending[Event[Any] | None]:
        """Wait for an event that arrives from now on.

        Args:
            event: Its name, or its type.
            if_exp: Which one: a condition over `event`, which started the run, and `async`, the
                one that comes, such as `event.data.order_id == async.data.order_id`.
            timeout: How long: milliseconds or a `timedelta`.
        Returns:
            The event; None if none came in time.
        """
        return self._ask(
            "step.wait_for_event",
            step_id,
            lambda: options.event_wait(event_name(event), if_exp, timeout),
            lambda value: read_awaited_event(value, event),
        )

    def wait_for_signal(
        self,
        step_id: str,
        *,
        signal: str,
        timeout: int | timedelta | None = None,
        on_conflict: Literal["fail", "replace"] = "fail",
    ) -> Pending[Signal | None]:
        """Wait until somebody sends this signal; only one run can wait for it.

        Args:
            timeout: How long: milliseconds or a `timedelta`; a year by default.
            on_conflict: If another run waits for it already: fail this one, or take its place.
        Returns:
            The signal; None if none came in time.
        """
        return self._ask(
            "step.wait_for_signal",
            step_id,
            lambda: options.signal_wait(signal, timeout, on_conflict),
            options.read_signal,
        )

    @overload
    def invoke(
        self,
        step_id: str,
        *,
        function: Function[T],
        data: object = None,
        user: Mapping[str, Any] | None = None,
        v: str | None = None,
        timeout: int | timedelta | None = None,
        output_type: None = None,
    ) -> Pending[T]: ...
    @overload
    def invoke(
        self,
        step_id: str,
        *,
        function: Function[Any],
        data: object = None,
        user: Mapping[str, Any] | None = None,
        v: str | None = None,
        timeout: int | timedelta | None = None,
        output_type: type[U],
    ) -> Pending[U]: ...
    def invoke(
        self,
        step_id: str,
        *,
        function: Function[Any],
        data: object = None,
        user: Mapping[str, Any] | None = None,
        v: str | None = None,
        timeout: int | timedelta | None = None,
        output_type: Any = None,
    ) -> Pending[Any]:
        """Run another function and give its result.

        Args:
            data: What it gets as `ctx.event.data`: an object.
            timeout: How long to wait: milliseconds or a `timedelta`; a year by default.
            output_type: As for `run`.
        Raises:
            StepError: It failed, was cancelled, or did not end in time.
        """
        return self._ask(
            "step.invoke",
            step_id,
            lambda: options.invocation(
                options.function_slug(function), data=data, user=user, v=v, timeout=timeout
            ),
            _same,
            output_type,
        )

    @overload
    def invoke_by_id(
        self,
        step_id: str,
        *,
        function_id: str,
        app_id: str | None = None,
        data: object = None,
        user: Mapping[str, Any] | None = None,
        v: str | None = None,
        timeout: int | timedelta | None = None,
        output_type: None = None,
    ) -> Pending[Any]: ...
    @overload
    def invoke_by_id(
        self,
        step_id: str,
        *,
        function_id: str,
        app_id: str | None = None,
        data: object = None,
        user: Mapping[str, Any] | None = None,
        v: str | None = None,
        timeout: int | timedelta | None = None,
        output_type: type[U],
    ) -> Pending[U]: ...
    def invoke_by_id(
        self,
        step_id: str,
        *,
        function_id: str,
        app_id: str | None = None,
        data: object = None,
        user: Mapping[str, Any] | None = None,
        v: str | None = None,
        timeout: int | timedelta | None = None,
        output_type: Any = None,
    ) -> Pending[Any]:
        """As `invoke`, for a function of another program.

        Args:
            function_id: Its id within its app.
            app_id: That app; this function's own by default.
        """
        app = self._app_id if app_id is None else app_id
        return self._ask(
            "step.invoke_by_id",
            step_id,
            lambda: options.invocation(
                options.slug_of(app, function_id), data=data, user=user, v=v, timeout=timeout
            ),
            _same,
            output_type,
        )

    def fetch(
        self,
        step_id: str,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: str | bytes | None = None,
    ) -> Pending[FetchResponse]:
        """Have the server request a URL; nothing is held meanwhile.

        Any status is an answer.

        Raises:
            StepError: There was none, after the step's retries.
        """
        return self._ask(
            "step.fetch",
            step_id,
            lambda: options.fetch(url, method=method, headers=headers, body=body),
            options.read_response,
        )

    def send_event(
        self, step_id: str, events: Event[Any] | Sequence[Event[Any]]
    ) -> Pending[list[str]]:
        """Send events as a step.

        Returns:
            Their internal ids, in order.
        Raises:
            StepError: They could not be sent, after the step's retries.
        """
        return self._do(
            "step.send_event", step_id, SEND_EVENT, self._doors.send, (events,), list[str]
        )

    def send_signal(self, step_id: str, *, signal: str, data: object = None) -> Pending[bool]:
        """Send a signal as a step.

        Returns:
            Whether a run was waiting for it.
        Raises:
            StepError: It could not be sent, after the step's retries.
        """
        return self._do(
            "step.send_signal", step_id, SEND_SIGNAL, self._doors.signal, (signal, data), bool
        )

    def defer(self, step_id: str, function: Function[Any], data: object = None) -> Deferred:
        """Start a function when this run is over, whatever comes of it.

        The function is triggered by `TriggerDeferred()`. Nothing waits for it, and nothing is
        awaited here; it is recorded with what this call reports next.
        """
        return defer(self._execution, step_id, function, data)

    @property
    def ai(self) -> StepAI:
        """Steps that ask providers of AI."""
        return StepAI(self)

    def _ask(
        self,
        method: str,
        step_id: str,
        ask: Callable[[], Asked],
        read: Callable[[Any], T],
        output_type: Any = None,
    ) -> Pending[T]:
        """A step that the server performs."""
        call = StepCall(self._execution, method, step_id)
        coroutine = self._asked(call, step_id, ask, read, output_type)
        call.coroutine = ref(coroutine)
        return coroutine

    def _do(
        self,
        method: str,
        step_id: str,
        step_type: str,
        handler: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        output_type: Any,
    ) -> Pending[Any]:
        """A step of ours that runs here."""
        call = StepCall(self._execution, method, step_id)
        coroutine = self._done(call, step_id, step_type, handler, args, output_type)
        call.coroutine = ref(coroutine)
        return coroutine

    async def _run(
        self,
        call: StepCall | None,
        step_id: str,
        step_type: str,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        output_type: Any,
        durable: bool,
    ) -> Any:
        if call is not None:
            call.begun = True
        execution = self._execution
        name = execution.meet(step_id)
        if not callable(handler):
            raise no_function(step_id, handler)
        value = execution.recall(name, output_type)
        if value is not MISSING:
            return value
        given = execution.arguments(name, args)
        return await self._execute(name, step_type, handler, given, output_type, durable=durable)

    async def _done(
        self,
        call: StepCall,
        step_id: str,
        step_type: str,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        output_type: Any,
    ) -> Any:
        call.begun = True
        execution = self._execution
        name = execution.meet(step_id)
        value = execution.recall(name, output_type)
        if value is not MISSING:
            return value
        return await self._execute(name, step_type, handler, args, output_type)

    async def _asked(
        self,
        call: StepCall,
        step_id: str,
        ask: Callable[[], Asked],
        read: Callable[[Any], T],
        output_type: Any,
    ) -> T:
        call.begun = True
        execution = self._execution
        asked = ask()
        name = execution.meet(step_id)
        value = execution.recall(name, output_type)
        if value is not MISSING:
            return read(value)
        if execution.busy:
            await execution.turn()
        return execution.report(name, asked.op, legacy_name=asked.legacy_name, opts=asked.opts)

    async def _execute(
        self,
        name: StepName,
        step_type: str,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        output_type: Any,
        *,
        durable: bool = False,
    ) -> Any:
        execution = self._execution
        while execution.owed is not None or execution.busy:
            if execution.owed is not None:
                await execution.committed(execution.owed)
            else:
                await execution.turn()
        execution.begin(name, step_type)
        started_ns = time.time_ns() if execution.runs_together else 0
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
            kept = execution.succeeded(
                name, step_type, value, durable=durable, started_ns=started_ns
            )
            if kept is not None:
                ticket = kept.ticket
                if ticket is not None and (durable or execution.waits_at_once):
                    await execution.committed(ticket)
                elif ticket is not None:
                    execution.owe(ticket)
                return kept.value(output_type)
        raise Interrupt


class StepAI:
    """Steps that ask providers of AI, in an async function."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def infer(
        self, step_id: str, *, adapter: Adapter, body: Mapping[str, Any]
    ) -> Pending[dict[str, Any]]:
        """Have the server ask a provider; nothing is held meanwhile.

        Args:
            adapter: The provider, such as `stepwell.ai.openai("gpt-4o-mini", auth_key=...)`.
            body: The request as the provider documents it.
        Returns:
            The provider's answer.
        Raises:
            StepError: The provider refused, or did not answer, after the step's retries.
        """
        return self._step._ask(
            "step.ai.infer", step_id, lambda: inference(adapter, body), read_inference
        )

    @overload
    def wrap(
        self,
        step_id: str,
        handler: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        output_type: None = None,
        durable: bool = False,
    ) -> Pending[T]: ...
    @overload
    def wrap(
        self,
        step_id: str,
        handler: Callable[[*Ts], Awaitable[object]],
        *args: *Ts,
        output_type: type[U],
        durable: bool = False,
    ) -> Pending[U]: ...
    def wrap(
        self,
        step_id: str,
        handler: Callable[[*Ts], Awaitable[Any]],
        *args: *Ts,
        output_type: Any = None,
        durable: bool = False,
    ) -> Pending[Any]:
        """Run your own call of a provider as a step, as `step.run` does."""
        step = self._step
        call = StepCall(step._execution, "step.ai.wrap", step_id)
        coroutine = step._run(call, step_id, AI_WRAP, handler, args, output_type, durable)
        call.coroutine = ref(coroutine)
        return coroutine


def _nothing(_value: Any) -> None:
    return None


def _same(value: Any) -> Any:
    return value
