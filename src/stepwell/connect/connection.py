"""`connect()` and the connection it returns: the worker as a program sees it."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, assert_never

from stepwell.background import LookupThreads
from stepwell.config import (
    default_instance_id,
    gateway_url_override,
    health_host_setting,
    health_port_setting,
)
from stepwell.config import max_worker_concurrency as resolve_concurrency
from stepwell.connect.executor import SYNC_THREADS_DEFAULT, Executor, Target
from stepwell.connect.health import Health, asgi_health, health_of, wsgi_health
from stepwell.connect.health_server import serving_health
from stepwell.connect.hello import App
from stepwell.connect.http import ConnectHttp
from stepwell.connect.options import (
    blocked_limit_ms,
    check_apps,
    check_clients,
    checked_callback,
    checked_policy,
    health_place,
    targets_of,
)
from stepwell.connect.plan import Plan, Timing
from stepwell.connect.reconnect import ReconnectPolicy
from stepwell.connect.signals import DEFAULT_SIGNALS, on_signals
from stepwell.connect.state import ConnectionState, StateCell
from stepwell.connect.stderr_log import shown_on_stderr
from stepwell.connect.worker import Worker
from stepwell.errors import ConfigError, StepwellError

if TYPE_CHECKING:
    import signal
    import socket as sockets
    from collections.abc import Callable, Sequence

    from stepwell.client import Client
    from stepwell.connect.health import AsgiHealth, WsgiHealth
    from stepwell.connect.health_server import HealthPlace
    from stepwell.function import Function

TIMING = Timing()
RECONNECT = ReconnectPolicy()
BLOCKED_LIMIT: Final = timedelta(minutes=10)

_log = logging.getLogger("stepwell.connect")


def connect(
    apps: Sequence[tuple[Client, Sequence[Function[Any]]]],
    *,
    instance_id: str | None = None,
    rewrite_gateway_endpoint: Callable[[str], str] | None = None,
    shutdown_signals: Sequence[signal.Signals] | None = None,
    max_worker_concurrency: int | None = None,
    reconnect: ReconnectPolicy | None = None,
    on_state: Callable[[ConnectionState], object] | None = None,
    health_port: int | sockets.socket | None = None,
    health_host: str | None = None,
    health_blocked_limit: int | timedelta | None = BLOCKED_LIMIT,
) -> WorkerConnection:
    """Make a worker for the functions of one or more apps. Nothing happens before `start()`.

    Args:
        apps: Clients with their functions. All clients must talk to the same server.
        instance_id: Names this worker; a limit on concurrency counts for all connections of the
            same name. Default: `STEPWELL_INSTANCE_ID`, the platform's name for it, the host name.
        rewrite_gateway_endpoint: Turns the gateway's address, as the server advertises it, into
            one that is reachable from here. `STEPWELL_CONNECT_GATEWAY_URL` replaces it too.
        shutdown_signals: On these the worker finishes its work and ends; the second one ends it
            faster. Default: SIGINT and SIGTERM; an empty list leaves signals alone.
        max_worker_concurrency: How many calls may be outstanding here; 0 for no limit. Default:
            `STEPWELL_CONNECT_MAX_WORKER_CONCURRENCY`, then no limit.
        reconnect: The pauses between attempts to connect, and when to stop. Default: for ever.
        on_state: Called with each new state, in order, on the loop that called `start()`. What it
            raises is logged.
        health_port: Where `/ready` and `/live` are answered, 0 for any free port; or a socket that
            listens. Default: `STEPWELL_CONNECT_HEALTH_PORT`, then nowhere.
        health_host: The address of that port; `0.0.0.0` for checks from other machines. Default:
            `STEPWELL_CONNECT_HEALTH_HOST`, then this machine only.
        health_blocked_limit: When an event loop that blocks makes `/live` fail; milliseconds or a
            `timedelta`, None for never.
    Raises:
        ConfigError: The apps cannot share a connection, or an option cannot be used.
    """
    check_apps(apps)
    clients = [client for client, _ in apps]
    check_clients(clients)
    settings = clients[0].settings
    assert settings.api_base_url is not None, "checked with the clients"
    targets = {client.app_id: targets_of(client, functions) for client, functions in apps}
    limit = resolve_concurrency(max_worker_concurrency)
    override = gateway_url_override()
    if rewrite_gateway_endpoint is None and override is not None:
        rewrite_gateway_endpoint = lambda _advertised: override  # noqa: E731 - one expression
    plan = Plan(
        apps=tuple(
            App(
                name=client.app_id,
                version=client.settings.app_version,
                functions={slug: t.function for slug, t in targets[client.app_id].items()},
            )
            for client in clients
        ),
        instance_id=instance_id or default_instance_id(),
        env=settings.env,
        max_worker_concurrency=limit,
        rewrite_gateway_endpoint=rewrite_gateway_endpoint,
        reconnect=checked_policy(reconnect, RECONNECT),
        timing=TIMING,
    )
    http = ConnectHttp(base_url=settings.api_base_url, keys=settings.signing_keys, env=settings.env)
    connection = WorkerConnection(
        plan,
        server=settings.api_base_url,
        targets=targets,
        http=http,
        signals=DEFAULT_SIGNALS if shutdown_signals is None else tuple(shutdown_signals),
        on_state=checked_callback(on_state),
        blocked_limit_ms=blocked_limit_ms(health_blocked_limit),
    )
    if health_port is None:
        health_port = health_port_setting()
    if health_port is not None:
        connection.serve_health(health_port, health_host)
    return connection


class WorkerConnection:
    """A worker. Made by `connect`."""

    def __init__(
        self,
        plan: Plan,
        *,
        server: str,
        targets: dict[str, dict[str, Target]],
        http: ConnectHttp,
        signals: Sequence[signal.Signals],
        on_state: Callable[[ConnectionState], object] | None = None,
        blocked_limit_ms: int | None = None,
    ) -> None:
        self._state = StateCell(self._entered)
        self._on_state = on_state
        self._blocked_limit_ms = blocked_limit_ms
        self._health_place: HealthPlace | None = None
        self._health_port: int | None = None
        self._plan = plan
        self._server = server
        self._said_connected = False
        self._signals = signals
        self._worker = Worker(plan, http=http, state=self._state)
        self._executor = Executor(
            targets,
            state=http,
            finished=self._worker.finished,
            caller_gone=self._give_up,
            checkpoint=self._worker.checkpoint,
            is_leaving=lambda: self._worker.is_closing,
            threads_max=plan.max_worker_concurrency or SYNC_THREADS_DEFAULT,
        )
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # that called start()
        self._close_asked = False
        self._error: BaseException | None = None

    @property
    def state(self) -> ConnectionState:
        return self._state.value

    def get_state(self) -> ConnectionState:
        """The property `state`, under the official name."""
        return self._state.value

    @property
    def instance_id(self) -> str:
        """The worker's name."""
        return self._plan.instance_id

    @property
    def max_worker_concurrency(self) -> int:
        """How many calls may be outstanding here; 0 for no limit."""
        return self._plan.max_worker_concurrency

    @property
    def app_versions(self) -> dict[str, str | None]:
        """The version of each app, by its name."""
        return {app.name: app.version for app in self._plan.apps}

    @property
    def saturated(self) -> bool:
        """Whether no calls are taken for want of room, although the connection is there.

        So it is from when 64 MiB of results wait for the server to acknowledge them until a
        quarter of that has left, and while 10,000 calls run. The server gives the calls that it
        sends meanwhile to other workers.
        """
        return self._worker.saturation is not None

    def health(self) -> Health:
        """How the connection is at this moment. On any thread, and it does not block."""
        return health_of(
            self._state.value,
            self._worker.vitals(),
            instance_id=self._plan.instance_id,
            blocked_limit_ms=self._blocked_limit_ms,
        )

    def asgi_health(self) -> AsgiHealth:
        """An ASGI app that answers `/ready` and `/live`, to be mounted in a web program."""
        return asgi_health(self.health)

    def wsgi_health(self) -> WsgiHealth:
        """The same as a WSGI app."""
        return wsgi_health(self.health)

    def serve_health(self, port: int | sockets.socket, host: str | None = None) -> None:
        """Have `/ready` and `/live` answered from `start()` on; as `connect(health_port=)`.

        Raises:
            ConfigError: The port cannot be one, or the connection was started before.
        """
        if self._thread is not None:
            raise ConfigError("serve_health() comes before start()", code="connection_used")
        self._health_place = health_place(port, host or health_host_setting())

    @property
    def health_port(self) -> int | None:
        """Where health checks are answered; None before `start()` listens there, and after it."""
        return self._health_port

    def get_connection_id(self) -> str:
        """The id of the present connection; it is another one after each reconnect.

        Raises:
            ConfigError: `not_connected`, before the server has given one.
        """
        connection_id = self._worker.connection_id
        if connection_id is None:
            raise ConfigError(
                "there is no connection yet; wait_for_state(ConnectionState.ACTIVE) first",
                code="not_connected",
            )
        return connection_id

    def run(self) -> None:
        """Like `asyncio.run(connection.start())`, on `uvloop` where it is installed.

        For programs that do nothing else: a step costs the worker some 15 % less there. Raises
        what `start` does.
        """
        with asyncio.Runner(loop_factory=_uvloop_or_asyncio) as runner:
            runner.run(self.start())

    async def start(self) -> None:
        """Connect, and run functions until the connection is closed.

        Async functions run on this loop, sync functions on threads. The protocol has a thread and
        a loop of its own, so functions that block cost no lease.

        Raises:
            AuthError: The server accepts no signing key of ours.
            ConfigError: It refuses the functions; this connection was started before; or the port
                for health checks is taken.
            StepwellError: `reconnect_given_up`, if the reconnection policy has an end.
        """
        if self._thread is not None or self._close_asked:
            raise ConfigError(
                "a connection can be started once; make a new one", code="connection_used"
            )
        ended = asyncio.Event()
        loop = self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._run_protocol, args=(loop, ended), name="stepwell-connect", daemon=True
        )
        try:
            with shown_on_stderr(), on_signals(self._signals, self._worker.request_close):
                async with asyncio.TaskGroup() as tasks:
                    self._executor.bind(tasks)
                    self._thread.start()
                    try:
                        await ended.wait()
                    except asyncio.CancelledError:
                        self._give_up()
                        await ended.wait()  # has a deadline: nothing in flight is waited for
                        raise
                    finally:
                        self._executor.cancel_all()
        finally:
            self._executor.stop()
        if isinstance(self._error, StepwellError):
            raise self._error.with_traceback(None)  # the message says it all
        if self._error is not None:
            raise self._error

    async def close(self, *, wait: bool = False) -> None:
        """Take no more calls, finish those in flight, and end. The second time: do not wait.

        Args:
            wait: Return when the connection is closed, rather than at once.
        """
        self._close_asked = True
        if self._thread is None:
            self._state.move(ConnectionState.CLOSED)
            return
        self._worker.request_close()
        if wait:
            await self.closed()

    async def closed(self) -> None:
        """Wait until the connection is closed and its thread has ended."""
        await self._state.wait_for(ConnectionState.CLOSED)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def wait_for_state(self, state: ConnectionState) -> None:
        """Wait until the connection is, or was for a moment, in this state.

        Raises:
            StepwellError: `connection_closed`, if it can no longer come.
        """
        await self._state.wait_for(state)

    def _give_up(self) -> None:
        """End without waiting for what is in flight."""
        self._worker.request_close()
        self._worker.request_close()

    def _run_protocol(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=_protocol_loop) as runner:
                runner.run(self._protocol())
        except BaseException as error:  # surfaces in start()
            self._error = _innermost(error)
        self._state.move(ConnectionState.CLOSED, self._error)
        try:
            loop.call_soon_threadsafe(ended.set)
        except RuntimeError:  # the program's loop has ended, and start() with it
            _log.debug("the loop that called start() has ended")

    async def _protocol(self) -> None:
        async with AsyncExitStack() as stack:
            if self._health_place is not None:
                serving = serving_health(self._health_place, self.health)
                self._health_port = await stack.enter_async_context(serving)
                stack.callback(setattr, self, "_health_port", None)
            await self._worker.run(self._executor)

    def _entered(self, state: ConnectionState) -> None:
        """The state has changed. On any thread."""
        self._log_state(state)
        if self._on_state is None:
            return
        if self._loop is None:  # closed before it was started
            self._tell_state(state)
            return
        try:
            self._loop.call_soon_threadsafe(self._tell_state, state)
        except RuntimeError:  # the program's loop has ended
            _log.debug("nobody is left to hear of state %s", state.value)

    def _tell_state(self, state: ConnectionState) -> None:
        assert self._on_state is not None, "asked before"
        try:
            self._on_state(state)
        except Exception:  # the program's own function
            _log.exception("on_state failed for %s", state.value)

    def _log_state(self, state: ConnectionState) -> None:
        """Say what a change of state means: one line each."""
        plan = self._plan
        match state:
            case ConnectionState.ACTIVE if self._said_connected:
                _log.info("connected again")
            case ConnectionState.ACTIVE:
                self._said_connected = True
                count = sum(len(app.functions) for app in plan.apps)
                _log.info(
                    "connected to %s as %s, %s",
                    self._server,
                    plan.instance_id,
                    _counted(count, "function"),
                )
            case ConnectionState.RECONNECTING if self._worker.is_replacing:
                _log.info("the server is about to close this connection; opening another")
            case ConnectionState.RECONNECTING:
                _log.warning("connection lost; reconnecting")
            case ConnectionState.CLOSING if count := self._worker.running_count:
                _log.info(
                    "stopping: waiting for %s; a second signal ends at once",
                    _counted(count, "call"),
                )
            case ConnectionState.CLOSING:
                _log.info("stopping")
            case ConnectionState.CLOSED:
                _log.info("stopped")
            case ConnectionState.CONNECTING:
                _log.debug("connecting")
            case _:
                assert_never(state)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _protocol_loop() -> asyncio.AbstractEventLoop:
    loop = _uvloop_or_asyncio()
    loop.set_default_executor(LookupThreads())
    return loop


def _uvloop_or_asyncio() -> asyncio.AbstractEventLoop:
    """A loop that watches sockets, on every system."""
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
