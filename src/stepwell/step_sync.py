"""Steps as sync functions use them: the twin of `step.py`."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple, overload

from stepwell import step_options as options
from stepwell.ai import inference, read_inference
from stepwell.deferring import defer
from stepwell.errors import ConfigError
from stepwell.event import event_name, read_awaited_event
from stepwell.execution import MISSING, Execution, StepBody, StepName
from stepwell.interrupt import Interrupt
from stepwell.step_types import AI_WRAP, SEND_EVENT, SEND_SIGNAL, STEP_RUN, no_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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


class StepSync:
    """The durable operations of a sync function. See `Step`."""

    def __init__(self, execution: Execution, doors: Doors, app_id: str = "") -> None:
        self._execution = execution
        self._doors = doors
        self._app_id = app_id

    @overload
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], T],
        *args: *Ts,
        output_type: None = None,
        durable: bool = False,
    ) -> T: ...
    @overload
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], object],
        *args: *Ts,
        output_type: type[U],
        durable: bool = False,
    ) -> U: ...
    @overload
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], object],
        *args: *Ts,
        output_type: object,
        durable: bool = False,
    ) -> Any: ...
    def run(
        self,
        step_id: str,
        handler: Callable[[*Ts], Any],
        *args: *Ts,
        output_type: Any = None,
        durable: bool = False,
    ) -> Any:
        """Run `handler(*args)` as a step and give its result, or the remembered one.

        See `Step.run`. An async handler is refused: it needs an async function.

        Raises:
            StepError: The step failed for good.
        """
        return self._run(step_id, STEP_RUN, handler, args, output_type, durable)

    def sleep(self, step_id: str, duration: int | timedelta) -> None:
        """Let the run sleep, for milliseconds or a `timedelta`. Nothing is held meanwhile."""
        self._ask(step_id, lambda: options.sleep_for(duration), _nothing)

    def sleep_until(self, step_id: str, until: datetime) -> None:
        """Let the run sleep until an aware `datetime`; one that is past does not wait."""
        self._ask(step_id, lambda: options.sleep_until(until), _nothing)

    @overload
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: str,
        if_exp: str | None = None,
        timeout: int | timedelta,
    ) -> Event | None: ...
    @overload
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: EventType[D],
        if_exp: str | None = None,
        timeout: int | timedelta,
    ) -> Event[D] | None: ...
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: str | EventType[Any],
        if_exp: str | None = None,
        timeout: int | timedelta,
    ) -> Event[Any] | None:
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
    ) -> Signal | None:
        """Wait until somebody sends this signal; only one run can wait for it.

        Args:
            timeout: How long: milliseconds or a `timedelta`; a year by default.
            on_conflict: If another run waits for it already: fail this one, or take its place.
        Returns:
            The signal; None if none came in time.
        """
        return self._ask(
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
    ) -> T: ...
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
    ) -> U: ...
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
    ) -> Any:
        """Run another function and give its result.

        Args:
            data: What it gets as `ctx.event.data`: an object.
            timeout: How long to wait: milliseconds or a `timedelta`; a year by default.
            output_type: As for `run`.
        Raises:
            StepError: It failed, was cancelled, or did not end in time.
        """
        return self._ask(
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
    ) -> Any: ...
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
    ) -> U: ...
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
    ) -> Any:
        """As `invoke`, for a function of another program.

        Args:
            function_id: Its id within its app.
            app_id: That app; this function's own by default.
        """
        app = self._app_id if app_id is None else app_id
        return self._ask(
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
    ) -> FetchResponse:
        """Have the server request a URL; nothing is held meanwhile.

        Any status is an answer.

        Raises:
            StepError: There was none, after the step's retries.
        """
        return self._ask(
            step_id,
            lambda: options.fetch(url, method=method, headers=headers, body=body),
            options.read_response,
        )

    def send_event(self, step_id: str, events: Event[Any] | Sequence[Event[Any]]) -> list[str]:
        """Send events as a step.

        Returns:
            Their internal ids, in order.
        Raises:
            StepError: They could not be sent, after the step's retries.
        """
        send = self._doors.send_sync
        ids: list[str] = self._do(step_id, SEND_EVENT, send, (events,), list[str])
        return ids

    def send_signal(self, step_id: str, *, signal: str, data: object = None) -> bool:
        """Send a signal as a step.

        Returns:
            Whether a run was waiting for it.
        Raises:
            StepError: It could not be sent, after the step's retries.
        """
        send = self._doors.signal_sync
        taken: bool = self._do(step_id, SEND_SIGNAL, send, (signal, data), bool)
        return taken

    def defer(self, step_id: str, function: Function[Any], data: object = None) -> Deferred:
        """Start a function when this run is over, whatever comes of it.

        The function is triggered by `TriggerDeferred()`. Nothing waits for it, and nothing is
        awaited here; it is recorded with what this call reports next.
        """
        return defer(self._execution, step_id, function, data)

    @property
    def ai(self) -> StepAISync:
        """Steps that ask providers of AI."""
        return StepAISync(self)

    def _ask(
        self,
        step_id: str,
        ask: Callable[[], Asked],
        read: Callable[[Any], T],
        output_type: Any = None,
    ) -> T:
        """A step that the server performs."""
        execution = self._execution
        asked = ask()
        name = execution.meet(step_id)
        value = execution.recall(name, output_type)
        if value is not MISSING:
            return read(value)
        return execution.report(name, asked.op, legacy_name=asked.legacy_name, opts=asked.opts)

    def _run(
        self,
        step_id: str,
        step_type: str,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        output_type: Any,
        durable: bool,
    ) -> Any:
        """A step of the program that runs here."""
        execution = self._execution
        name = execution.meet(step_id)
        if not callable(handler):
            raise no_function(step_id, handler)
        value = execution.recall(name, output_type)
        if value is not MISSING:
            return value
        given = execution.arguments(name, args)
        return self._execute(name, step_type, handler, given, output_type, durable=durable)

    def _do(
        self,
        step_id: str,
        step_type: str,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        output_type: Any,
    ) -> Any:
        """A step of ours that runs here."""
        execution = self._execution
        name = execution.meet(step_id)
        value = execution.recall(name, output_type)
        if value is not MISSING:
            return value
        return self._execute(name, step_type, handler, args, output_type)

    def _execute(
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
        if execution.owed is not None:
            execution.committed_sync(execution.owed)
        execution.begin(name, step_type)
        started_ns = time.time_ns() if execution.runs_together else 0
        try:
            with StepBody(execution):
                if execution.turns is None:
                    value = handler(*args)
                else:
                    with execution.turns.pause():
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
            kept = execution.succeeded(
                name, step_type, value, durable=durable, started_ns=started_ns
            )
            if kept is not None:
                ticket = kept.ticket
                if ticket is not None and (durable or execution.waits_at_once):
                    execution.committed_sync(ticket)
                elif ticket is not None:
                    execution.owe(ticket)
                return kept.value(output_type)
        raise Interrupt


class StepAISync:
    """Steps that ask providers of AI, in a sync function."""

    def __init__(self, step: StepSync) -> None:
        self._step = step

    def infer(self, step_id: str, *, adapter: Adapter, body: Mapping[str, Any]) -> dict[str, Any]:
        """Have the server ask a provider. See `StepAI.infer`.

        Raises:
            StepError: The provider refused, or did not answer, after the step's retries.
        """
        return self._step._ask(step_id, lambda: inference(adapter, body), read_inference)

    @overload
    def wrap(
        self,
        step_id: str,
        handler: Callable[[*Ts], T],
        *args: *Ts,
        output_type: None = None,
        durable: bool = False,
    ) -> T: ...
    @overload
    def wrap(
        self,
        step_id: str,
        handler: Callable[[*Ts], object],
        *args: *Ts,
        output_type: type[U],
        durable: bool = False,
    ) -> U: ...
    def wrap(
        self,
        step_id: str,
        handler: Callable[[*Ts], Any],
        *args: *Ts,
        output_type: Any = None,
        durable: bool = False,
    ) -> Any:
        """Run your own call of a provider as a step, as `step.run` does."""
        return self._step._run(step_id, AI_WRAP, handler, args, output_type, durable)


def _nothing(_value: Any) -> None:
    return None


def _same(value: Any) -> Any:
    return value
