"""The client: an app's name, its credentials, its functions, and sending events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Never
from urllib.parse import quote

from stepwell.background import background
from stepwell.checkpointing import CheckpointingOption, read_checkpointing
from stepwell.codec import serialise
from stepwell.config import ClientSettings, resolve
from stepwell.errors import ConfigError
from stepwell.event import EventType, event_list, write_events
from stepwell.function import Function, FunctionDecorator, refuse_options
from stepwell.proxy import proxy_for
from stepwell.sending import ATTEMPTS_DEFAULT, post_events
from stepwell.signalling import post_signal
from stepwell.triggers import Cancel, Timeouts, Trigger, TriggerCron, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from stepwell.context import Logger
    from stepwell.event import Event
    from stepwell.function import AsyncHandler, SyncHandler


class Client:
    """An app.

    Options that are not given come from the environment (`STEPWELL_X`, then `INNGEST_X`); without
    keys the client talks to the development server on this machine.

    Args:
        app_id: The app's name on the server.
        app_version: Which version of the program this is; a commit, for example.
        event_key: For sending events.
        signing_key: For Connect and the API.
        is_production: Overrides what keys and environment say.
        api_base_url: The server.
        event_api_base_url: The server that takes events, if it is another one.
        env: The environment's name on the server.
        logger: What functions get as `ctx.logger`.
        send_attempts: How often `send` tries before it raises. Five attempts wait about a second
            in all; from the eighth on, up to ten seconds pass between two.
        checkpointing: For functions that do not say: run several steps in a call, and report them
            as they go. `True` is `stepwell.checkpointing.SAFE`.
    Raises:
        ConfigError: The options do not fit together.
    """

    def __init__(
        self,
        *,
        app_id: str,
        app_version: str | None = None,
        event_key: str | None = None,
        signing_key: str | None = None,
        is_production: bool | None = None,
        api_base_url: str | None = None,
        event_api_base_url: str | None = None,
        env: str | None = None,
        logger: Logger | None = None,
        send_attempts: int = ATTEMPTS_DEFAULT,
        checkpointing: CheckpointingOption = False,
    ) -> None:
        if not isinstance(app_id, str) or not app_id:
            raise ConfigError(f"a client needs an app_id, a text that is not empty, not {app_id!r}")
        if not isinstance(send_attempts, int) or send_attempts < 1:
            raise ConfigError(f"send_attempts is {send_attempts!r}; it must be 1 or more")
        self.app_id = app_id
        self._send_attempts = send_attempts
        self._checkpointing = read_checkpointing(checkpointing)
        self._functions: list[Function[Any]] = []
        self.logger: Logger = logger or logging.getLogger("stepwell.function")
        self.settings: ClientSettings = resolve(
            is_production=is_production,
            api_base_url=api_base_url,
            event_api_base_url=event_api_base_url,
            event_key=event_key,
            signing_key=signing_key,
            env=env,
            app_version=app_version,
        )
        events_url = self.settings.event_api_base_url
        self._events_proxy = None if events_url is None else proxy_for(events_url)

    def create_function(
        self,
        *,
        fn_id: str,
        trigger: Trigger | list[Trigger],
        name: str | None = None,
        retries: int | None = None,
        on_failure: AsyncHandler[Any] | SyncHandler[Any] | None = None,
        cancel: Sequence[Cancel] = (),
        timeouts: Timeouts | None = None,
        checkpointing: CheckpointingOption | None = None,
        **not_built: Never,
    ) -> FunctionDecorator:
        """Declare a function; the decorated handler may be async or not.

        Args:
            fn_id: The function's name within the app. It must not change while runs are alive.
            trigger: What starts it.
            name: What people see; `fn_id` by default.
            retries: How often a failed step or function is tried again, 0 to 20; the server's
                default is 4.
            on_failure: Called as a function of its own when a run has failed for good, with the
                event `inngest/function.failed`.
            cancel: Events that cancel its runs.
            timeouts: When its runs are cancelled for being late.
            checkpointing: Run several steps in a call, and report them as they go: `True`, a
                preset or a `stepwell.Checkpointing`. As the client says by default.
        Raises:
            ConfigError: `function_unsupported`, for options of the official SDK that are not
                built yet.
        """
        refuse_options(fn_id, not_built)
        if checkpointing is None:
            checkpointing = self._checkpointing
        triggers = [trigger] if isinstance(trigger, Trigger) else trigger

        def declare(handler: Callable[[Any], Any]) -> Function[Any]:
            function = Function(
                app_id=self.app_id,
                fn_id=fn_id,
                handler=handler,
                triggers=triggers,
                name=name,
                retries=retries,
                on_failure=on_failure,
                cancel=cancel,
                timeouts=timeouts,
                checkpointing=checkpointing,
            )
            self._functions.append(function)
            return function

        return declare

    @property
    def functions(self) -> tuple[Function[Any], ...]:
        """The functions that were declared with this client, in the modules imported so far."""
        return tuple(self._functions)

    def function(
        self,
        fn_id: str,
        *,
        event: str | EventType[Any] | Sequence[str | EventType[Any]] = (),
        cron: str | Sequence[str] = (),
        expression: str | None = None,
        name: str | None = None,
        retries: int | None = None,
        on_failure: AsyncHandler[Any] | SyncHandler[Any] | None = None,
        cancel: Sequence[Cancel] = (),
        timeouts: Timeouts | None = None,
        checkpointing: CheckpointingOption | None = None,
        **not_built: Never,
    ) -> FunctionDecorator:
        """Declare a function in one line.

        `@client.function("handle-signup", event="user.created")`

        Args:
            event: The names or types of the events that start it.
            cron: Schedules that start it.
            expression: A condition over `event`, for each of the names.

        The rest is as for `create_function`.
        """
        if callable(fn_id):
            name = getattr(fn_id, "__name__", "ship")
            raise ConfigError(
                "client.function takes the function's id and gives a decorator: write "
                f'@client.function("{name}", event="order/paid")'
            )
        refuse_options(fn_id, not_built)
        events = [event] if isinstance(event, str) or not isinstance(event, Sequence) else event
        crons = [cron] if isinstance(cron, str) or not isinstance(cron, Sequence) else cron
        return self.create_function(
            fn_id=fn_id,
            trigger=[
                *(TriggerEvent(each, expression) for each in events),
                *(TriggerCron(text) for text in crons),
            ],
            name=name,
            retries=retries,
            on_failure=on_failure,
            cancel=cancel,
            timeouts=timeouts,
            checkpointing=checkpointing,
        )

    async def send(self, events: Event[Any] | Sequence[Event[Any]]) -> list[str]:
        """Send events.

        Returns:
            Their internal ids, in order. The events are stored.
        Raises:
            SendEventsError: The server refused them, or could not be reached in any attempt.
            ConfigError: There is no event key.
            StepwellError: `output_unserializable`, if some data has no JSON form.
        """
        if (posting := self._posting(events)) is None:
            return []
        return await asyncio.wrap_future(background().submit(posting))

    def send_sync(self, events: Event[Any] | Sequence[Event[Any]]) -> list[str]:
        """Send events from code without an event loop. As `send`, and it blocks."""
        if (posting := self._posting(events)) is None:
            return []
        return background().submit(posting).result()

    async def signal(self, signal: str, data: object = None) -> bool:
        """Send a signal to the run that waits for it.

        Returns:
            Whether there was one.
        Raises:
            SendEventsError: The server refused it, or could not be reached in any attempt.
            StepwellError: `output_unserializable`, if the data has no JSON form.
        """
        return await asyncio.wrap_future(background().submit(self._signalling(signal, data)))

    def signal_sync(self, signal: str, data: object = None) -> bool:
        """Send a signal from code without an event loop. As `signal`, and it blocks."""
        return background().submit(self._signalling(signal, data)).result()

    def _signalling(self, signal: str, data: object) -> Coroutine[Any, Any, bool]:
        """What is to be done on the background loop."""
        if not isinstance(signal, str) or not signal:
            raise ConfigError(f"a signal is a text that is not empty, this is {signal!r}")
        body = serialise({"signal": signal, "data": data})
        return self._post_signal(body)

    async def _post_signal(self, body: bytes) -> bool:
        settings = self.settings
        if settings.api_base_url is None:
            raise ConfigError(
                "this client has no server: pass api_base_url= or set STEPWELL_BASE_URL",
                code="base_url_missing",
            )
        return await post_signal(
            background().session(),
            base_url=settings.api_base_url,
            keys=settings.signing_keys,
            env=settings.env,
            body=body,
            proxy=proxy_for(settings.api_base_url),
            attempts=self._send_attempts,
        )

    def _posting(
        self, events: Event[Any] | Sequence[Event[Any]]
    ) -> Coroutine[Any, Any, list[str]] | None:
        """What is to be done on the background loop; None if there is nothing to send."""
        batch = event_list(events)
        if not batch:
            return None
        settings = self.settings
        base_url, key = settings.event_api_base_url, settings.event_key
        if key is None:
            raise ConfigError(
                "sending events in production needs an event key: pass event_key= or set "
                "STEPWELL_EVENT_KEY",
                code="event_key_unspecified",
            )
        if base_url is None:
            raise ConfigError(
                "this client has no server for events: pass event_api_base_url= or set "
                "STEPWELL_BASE_URL",
                code="base_url_missing",
            )
        body = write_events(batch)
        return self._post(base_url, quote(key, safe=""), body)

    async def _post(self, base_url: str, event_key: str, body: bytes) -> list[str]:
        session = background().session()
        env = self.settings.env
        return await post_events(
            session,
            base_url=base_url,
            event_key=event_key,
            env=env,
            body=body,
            proxy=self._events_proxy,
            attempts=self._send_attempts,
        )
