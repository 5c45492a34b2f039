"""`connect()` and the connection it returns: the worker as a program sees it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, assert_never

from stepwell.app import check_client, functions_by_id
from stepwell.background import LookupThreads
from stepwell.config import default_instance_id, gateway_url_override
from stepwell.config import max_worker_concurrency as resolve_concurrency
from stepwell.connect.backoff import Backoff
from stepwell.connect.executor import SYNC_THREADS_DEFAULT, Executor, Target
from stepwell.connect.hello import App
from stepwell.connect.http import ConnectHttp
from stepwell.connect.signals import DEFAULT_SIGNALS, on_signals
from stepwell.connect.state import ConnectionState, StateCell
from stepwell.connect.stderr_log import shown_on_stderr
from stepwell.connect.worker import Plan, Timing, Worker
from stepwell.errors import ConfigError, StepwellError

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from stepwell.client import Client
    from stepwell.function import Function

TIMING = Timing()
FORM: Final = "connect(apps=[(client, [function])])"

_log = logging.getLogger("stepwell.connect")


def connect(
    apps: Sequence[tuple[Client, Sequence[Function[Any]]]],
    *,
    instance_id: str | None = None,
    rewrite_gateway_endpoint: Callable[[str], str] | None = None,
    shutdown_signals: Sequence[signal.Signals] | None = None,
    max_worker_concurrency: int | None = None,
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
    Raises:
        ConfigError: The apps cannot share a connection, or an option cannot be used.
    """
    _check_apps(apps)
    clients = [client for client, _ in apps]
    _check_clients(clients)
    settings = clients[0].settings
    assert settings.api_base_url is not None, "checked with the clients"
    targets = {client.app_id: _targets(client, functions) for client, functions in apps}
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
        timing=TIMING,
    )
    http = ConnectHttp(base_url=settings.api_base_url, keys=settings.signing_keys, env=settings.env)
    return WorkerConnection(
        plan,
        server=settings.api_base_url,
        targets=targets,
        http=http,
        signals=DEFAULT_SIGNALS if shutdown_signals is None else tuple(shutdown_signals),
    )


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
    ) -> None:
        self._state = StateCell(self._log_state)
        self._plan = plan
        self._server = server
        self._said_connected = False
        self._signals = signals
        self._worker = Worker(plan, http=http, state=self._state, backoff=Backoff())
        self._executor = Executor(
            targets,
            state=http,
            finished=self._worker.finished,
            caller_gone=self._give_up,
            threads_max=plan.max_worker_concurrency or SYNC_THREADS_DEFAULT,
        )
        self._thread: threading.Thread | None = None
        self._close_asked = False
        self._error: BaseException | None = None

    @property
    def state(self) -> ConnectionState:
        return self._state.value

    def get_state(self) -> ConnectionState:
        """The property `state`, under the official name."""
        return self._state.value

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
            ConfigError: It refuses the functions; or this connection was started before.
        """
        if self._thread is not None or self._close_asked:
            raise ConfigError(
                "a connection can be started once; make a new one", code="connection_used"
            )
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
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
                runner.run(self._worker.run(self._executor))
        except BaseException as error:  # surfaces in start()
            self._error = _innermost(error)
        self._state.move(ConnectionState.CLOSED, self._error)
        try:
            loop.call_soon_threadsafe(ended.set)
        except RuntimeError:  # the program's loop has ended, and start() with it
            _log.debug("the loop that called start() has ended")

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


def _check_apps(apps: Sequence[tuple[Client, Sequence[Function[Any]]]]) -> None:
    for app in apps if isinstance(apps, Sequence) else [apps]:
        if not isinstance(app, tuple | list) or len(app) != 2:
            raise ConfigError(
                f"an app is a client with its functions, this is a {type(app).__name__}; "
                f"write {FORM}"
            )


def _check_clients(clients: Sequence[Client]) -> None:
    if not clients:
        raise ConfigError("connect() needs at least one app", code="apps_missing")
    for client in clients:
        check_client(client, FORM)
    names = [client.app_id for client in clients]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"each app may come once, these are {', '.join(names)}", code="apps_conflict"
        )
    first = clients[0]
    for client in clients[1:]:
        for what in ("is_production", "api_base_url", "env", "signing_key"):
            if getattr(client.settings, what) != getattr(first.settings, what):
                raise ConfigError(
                    f"apps {first.app_id!r} and {client.app_id!r} differ in {what}; apps of one "
                    "connection share the server, the environment and the key",
                    code="apps_conflict",
                )


def _targets(client: Client, functions: Sequence[Function[Any]]) -> dict[str, Target]:
    return {
        slug: Target(client, function)
        for slug, function in functions_by_id(client, functions, FORM).items()
    }
