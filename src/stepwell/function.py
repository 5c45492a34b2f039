"""Durable functions: what the program declares, and what the server is told of it.

Source: docs/reference/wire/registration.md, "functions".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar, overload
from urllib.parse import quote

import msgspec

from stepwell.checkpointing import CheckpointingOption, read_checkpointing
from stepwell.context import Context, ContextSync
from stepwell.errors import ConfigError, NonRetriableError
from stepwell.event import Event, EventType
from stepwell.handlers import check_handler, declared_data, is_async, takes_sync_context
from stepwell.triggers import (
    Cancel,
    Timeouts,
    Trigger,
    TriggerEvent,
    cancel_fields,
    timeout_fields,
    trigger_fields,
)
from stepwell.wire.functions import RETRIES_MAX, TRIGGERS_MAX
from stepwell.wire.ids import UNTARGETED_STEP
from stepwell.wire.lifecycle import DEFERRED_EVENT, INVOKED_EVENT

T = TypeVar("T")

AsyncHandler: TypeAlias = Callable[[Context[Any]], Awaitable[T]]
SyncHandler: TypeAlias = Callable[[ContextSync[Any]], T]

_BY_FUNCTION: Final = frozenset({INVOKED_EVENT, DEFERRED_EVENT})

_NOT_BUILT = frozenset(
    {
        "batch_events",
        "concurrency",
        "debounce",
        "idempotency",
        "middleware",
        "priority",
        "rate_limit",
        "singleton",
        "throttle",
    }
)


class Function(Generic[T]):
    """A declared function. Made by `Client.create_function` and `Client.function`."""

    def __init__(
        self,
        *,
        app_id: str,
        fn_id: str,
        handler: AsyncHandler[T] | SyncHandler[T],
        triggers: Sequence[Trigger],
        name: str | None = None,
        retries: int | None = None,
        on_failure: AsyncHandler[Any] | SyncHandler[Any] | None = None,
        cancel: Sequence[Cancel] = (),
        timeouts: Timeouts | None = None,
        checkpointing: CheckpointingOption | None = None,
    ) -> None:
        _check(fn_id, triggers, retries)
        check_handler(f"function {fn_id!r}", handler)
        if on_failure is not None:
            check_handler(f"on_failure of function {fn_id!r}", on_failure)
        slug = f"{app_id}-{fn_id}"
        self._triggers = [trigger_fields(fn_id, slug, trigger) for trigger in triggers]
        self._types = [
            trigger.event
            for trigger in triggers
            if isinstance(trigger, TriggerEvent) and isinstance(trigger.event, EventType)
        ]
        self._cancels = cancel_fields(fn_id, cancel)
        self._timeouts = {} if timeouts is None else timeout_fields(fn_id, timeouts)
        self.app_id = app_id
        self.local_id = fn_id
        self.name = name or fn_id
        self.triggers = tuple(triggers)
        self.retries = retries
        self.checkpointing = read_checkpointing(checkpointing)
        self.handler = handler
        self.is_async = is_async(handler)
        if self.is_async and takes_sync_context(handler):
            raise ConfigError(
                f"function {fn_id!r} is declared with `async def` and takes a ContextSync; let it "
                "take a Context, or declare it with `def`"
            )
        if not self._types and (data := declared_data(handler)) is not None:
            raise ConfigError(
                f"function {fn_id!r} takes a Context[{data.__name__}], and none of its triggers "
                "names that type, so its events have a dict: write "
                f'event=EventType("order/paid", {data.__name__}), or a Context without a type'
            )
        self.on_failure: Function[Any] | None = None
        if on_failure is not None:
            if "'" in self.id or "\\" in self.id:
                raise ConfigError(
                    f"function {self.id!r} has a failure handler, so its id cannot hold a quote or "
                    "a backslash: the id stands in the handler's trigger"
                )
            failed = TriggerEvent(
                "inngest/function.failed", f"event.data.function_id == '{self.id}'"
            )
            self.on_failure = Function(
                app_id=app_id,
                fn_id=f"{fn_id}-failure",
                handler=on_failure,
                triggers=[failed],
                name=f"{self.name} (failure)",
                retries=0,
            )

    @property
    def id(self) -> str:
        """The id on the server: the app's and the function's own."""
        return f"{self.app_id}-{self.local_id}"

    @property
    def starts_deferred(self) -> bool:
        """Whether a run can defer it."""
        return any(trigger.get("event") == DEFERRED_EVENT for trigger in self._triggers)

    def typed(self, event: Event[Any]) -> Event[Any]:
        """An event that started a run, its data in the type that the trigger declares.

        A run that somebody has invoked or deferred gets the data of one of the declared types too:
        what the server adds to it is left out then.

        Raises:
            NonRetriableError: `event_data_invalid`, if the data does not fit.
        """
        if not self._types:
            return event
        if event.name in _BY_FUNCTION:
            data = {name: value for name, value in event.data.items() if name != "_inngest"}
            return _read_as_first(self._types, msgspec.structs.replace(event, data=data))
        for event_type in self._types:
            if event_type.stands_for(event.name):
                return event_type.read(event)
        return event

    def with_failure_handler(self) -> list[Function[Any]]:
        """This function, and the one that handles its failures, if it has one."""
        return [self] if self.on_failure is None else [self, self.on_failure]

    def configuration(self, base_url: str) -> dict[str, Any]:
        """The function as the server registers it.

        Args:
            base_url: Where the server reaches the app; for Connect `wss://connect`.
        """
        url = f"{base_url}?fnId={quote(self.id, safe='')}&stepId={UNTARGETED_STEP}"
        runtime = {"type": "ws" if url.startswith(("ws:", "wss:")) else "http", "url": url}
        step: dict[str, Any] = {
            "id": UNTARGETED_STEP,
            "name": UNTARGETED_STEP,
            "runtime": runtime,
        }
        if self.retries is not None:
            step["retries"] = {"attempts": self.retries}
        configuration: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "triggers": self._triggers,
            "steps": {UNTARGETED_STEP: step},
        }
        if self._cancels:
            configuration["cancel"] = self._cancels
        if self.checkpointing is not None:
            configuration["checkpoint"] = self.checkpointing.configuration()
        if self._timeouts:
            configuration["timeouts"] = self._timeouts
        return configuration

    def __repr__(self) -> str:
        return f"<Function {self.id}>"


class FunctionDecorator(Protocol):
    """Turns a handler into a `Function` that knows what the handler returns."""

    @overload
    def __call__(self, handler: AsyncHandler[T], /) -> Function[T]: ...
    @overload
    def __call__(self, handler: SyncHandler[T], /) -> Function[T]: ...


def refuse_options(fn_id: str, options: Mapping[str, object]) -> None:
    """Refuse options of a function that `create_function` does not have.

    Raises:
        ConfigError: The official SDK has the option.
        TypeError: Nobody has.
    """
    for option in options:
        if option in _NOT_BUILT:
            raise ConfigError(
                f"function {fn_id!r}: {option} is not built yet; remove it",
                code="function_unsupported",
            )
        raise TypeError(f"function {fn_id!r} got an unexpected option {option!r}")


def _read_as_first(event_types: Sequence[EventType[Any]], event: Event[Any]) -> Event[Any]:
    """The event in the first of these types that its data fits, else the first one's complaint."""
    complaints: list[NonRetriableError] = []
    for event_type in event_types:
        try:
            return event_type.read(event)
        except NonRetriableError as complaint:
            complaints.append(complaint)
    raise complaints[0]


def _check(fn_id: str, triggers: Sequence[Trigger], retries: int | None) -> None:
    if not isinstance(fn_id, str) or not fn_id:
        raise ConfigError(f"a function needs an id, a text that is not empty, not {fn_id!r}")
    if not isinstance(triggers, list | tuple) or not all(
        isinstance(trigger, Trigger) for trigger in triggers
    ):
        raise ConfigError(
            f"function {fn_id!r} has trigger={triggers!r}; it must be a TriggerEvent or a "
            'TriggerCron, or a list of them, such as TriggerEvent(event="order/paid")'
        )
    if not 1 <= len(triggers) <= TRIGGERS_MAX:
        raise ConfigError(
            f"function {fn_id!r} has {len(triggers)} triggers; it needs 1 to {TRIGGERS_MAX}"
        )
    if retries is None:
        return
    if not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= RETRIES_MAX:
        raise ConfigError(
            f"function {fn_id!r} has retries={retries!r}; it must be a whole number from 0 to "
            f"{RETRIES_MAX}"
        )
