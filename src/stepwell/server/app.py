"""The composition root: one server process, from its settings to its open ports."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING

import uvicorn

from stepwell.engine.turn import EngineConfig
from stepwell.errors import ConfigError
from stepwell.server.api.app import build_api
from stepwell.server.api.connect import endpoint_for
from stepwell.server.api.event_http import EventHttp
from stepwell.server.app_book import AppBook
from stepwell.server.apps.served import ServedApps
from stepwell.server.clock import SystemClock
from stepwell.server.dispatch.step_requests import StepRequests
from stepwell.server.gateway import Gateway
from stepwell.server.ids import SystemIds
from stepwell.server.outbound import OutboundClient, for_functions
from stepwell.server.runtime import Runtime
from stepwell.server.sdk_policy import SdkPolicy
from stepwell.server.secret_file import load_or_create_secret
from stepwell.server.worker_history import WorkerHistory
from stepwell.server.workers import WorkerBook
from stepwell.store.committer import Committer
from stepwell.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from stepwell.server.settings import Settings
    from stepwell.store.interface import Store

_log = logging.getLogger(__name__)

GATEWAY_PORTS_TRIED = 100
API_BACKLOG = 2_048
API_CLOSE_WAIT_S = 5
KEEP_ALIVE_S = 75  # Longer than the 60 s of common proxies, so that they close first.


class Server:
    """A server with its data, its API and its gateway; an async context manager.

    Args:
        open_store: Opens the data that the settings name.
        make_committer: Makes what is written durable, on a loop.
    Raises, on entering:
        ConfigError: `port_taken`, a port that was asked for is in use; or a setting that only
            turns out to be unusable now.
        StoreError: The data cannot be opened, or another server holds it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        open_store: Callable[[Settings], Store] | None = None,
        make_committer: Callable[[Store, asyncio.AbstractEventLoop], Committer] = Committer,
    ) -> None:
        self.settings = settings
        self._open_store = open_store or _open_store
        self._make_committer = make_committer
        self.api_url = ""
        self.gateway_url = ""
        self._stack = AsyncExitStack()
        self._gateway: Gateway | None = None
        self._served: ServedApps | None = None
        self._http: _Http | None = None
        self._draining = False

    async def __aenter__(self) -> Server:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def stop(self, *, drain: bool = True) -> None:
        """Let workers leave and apps answer while the API goes on; returns when all have.

        Leaving the context then closes the ports and the data.
        """
        self._draining = True
        if drain and self._gateway is not None and self._served is not None:
            self._gateway.begin_drain()
            self._served.begin_drain()
            await asyncio.gather(self._gateway.drained(), self._served.drained())

    async def _open(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        api_socket = _bind(settings.host, settings.port)
        stack.callback(api_socket.close)
        data_dir = None if settings.in_memory else settings.data_dir
        loop = asyncio.get_running_loop()
        store = self._open_store(settings)
        apps = AppBook()
        runtime = Runtime(
            store=store,
            committer=self._make_committer(store, loop),
            config=EngineConfig(
                lease_ms=settings.connect_lease_ms,
                reconnect_grace_ms=settings.connect_reconnect_grace_ms,
                call_timeout_ms=settings.connect_call_timeout_ms,
                pin_wait_ms=settings.connect_pin_wait_ms,
                retry_interval_ms=settings.retry_interval_ms,
                step_requests_max=settings.step_requests_max,
            ),
            ids=SystemIds(),
            clock=SystemClock(),
            loop=loop,
            admit=SdkPolicy(settings).admit,
            app_book=apps,
        )
        stack.push_async_callback(runtime.close)
        runtime.start()
        await stack.enter_async_context(
            StepRequests(
                runtime,
                OutboundClient(
                    for_functions(
                        is_dev=settings.mode == "dev",
                        ranges=map(ip_network, settings.outbound_ranges),
                    )
                ),
                renew_s=settings.connect_lease_ms / 3_000,
            )
        )
        book = WorkerBook()
        history = WorkerHistory(
            runtime=runtime,
            book=book,
            kept_max=settings.worker_history_max,
            kept_ms=settings.worker_history_age_ms,
        )
        await stack.enter_async_context(history)
        gateway = Gateway(
            runtime=runtime,
            settings=settings,
            book=book,
            secret=load_or_create_secret(data_dir),
        )
        await stack.enter_async_context(gateway)
        gateway_port = await self._listen(gateway)
        api_port: int = api_socket.getsockname()[1]
        self.api_url = f"http://{_shown_host(settings.host)}:{api_port}"
        self.gateway_url = settings.connect_public_url or endpoint_for(
            "", gateway_port=gateway_port, address=settings.host
        )
        api = build_api(
            runtime=runtime,
            settings=settings,
            book=book,
            worker_history=history,
            app_book=apps,
            gateway_url=lambda host: (
                settings.connect_public_url
                or endpoint_for(host, gateway_port=gateway_port, address=settings.host)
            ),
            mint_session_token=gateway.mint_session_token,
            drained=lambda: self._draining,
            sync_app=self._sync_app,
        )
        self._gateway = gateway
        self._http = _Http(
            uvicorn.Config(
                api,
                http=partial(EventHttp, edge=api),  # type: ignore[arg-type]  # it is only called
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                backlog=API_BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=API_CLOSE_WAIT_S,
            )
        )
        await stack.enter_async_context(_Serving(self._http, api_socket))
        self._served = await stack.enter_async_context(
            ServedApps(
                runtime=runtime,
                settings=settings,
                book=apps,
                own_ports=(api_port, gateway_port),
            )
        )

    async def _sync_app(self, url: str) -> bool:
        return self._served is not None and await self._served.sync(url)

    async def _listen(self, gateway: Gateway) -> int:
        """The asked port or, when none was asked for, the next free one."""
        settings = self.settings
        first = settings.connect_gateway_port
        asked = first == 0 or settings.is_given("connect_gateway_port")
        for port in range(first, first + (1 if asked else GATEWAY_PORTS_TRIED)):
            try:
                return await gateway.listen(settings.host, port)
            except OSError as error:
                failure = error
        raise _cannot_listen(settings.host, first, "--connect-gateway-port", failure)


class _Http(uvicorn.Server):
    """Uvicorn without its own idea of signals, and without waking up ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.opened = asyncio.Event()
        self._ends = asyncio.Event()

    def end(self) -> None:
        """Have `serve` return once what is under way has been answered."""
        self.should_exit = True
        self._ends.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.opened.set()

    async def main_loop(self) -> None:
        # What a tick is for besides, headers with the time and a limit on requests, is not in use.
        await self.on_tick(0)
        await self._ends.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Serving:
    """Runs uvicorn while the context is open."""

    def __init__(self, http: _Http, api_socket: socket.socket) -> None:
        self._http = http
        self._socket = api_socket
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> None:
        await self._tasks.__aenter__()
        self._serving = self._tasks.create_task(
            self._http.serve(sockets=[self._socket]), name="stepwell-api"
        )
        opened = self._tasks.create_task(self._http.opened.wait(), name="stepwell-api-opens")
        await asyncio.wait((opened, self._serving), return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()

    async def __aexit__(self, *_exc: object) -> None:
        self._http.end()
        await self._tasks.__aexit__(None, None, None)


def _open_store(settings: Settings) -> Store:
    if settings.in_memory:
        return MemoryStore()
    from stepwell.store.sqlite import SqliteStore

    return SqliteStore(settings.data_dir)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _cannot_listen(host, port, "--port", error) from error
    bound.setblocking(False)
    return bound


def _cannot_listen(host: str, port: int, flag: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot listen on {host}:{port}: {error.strerror or error}; give another port with "
        f"{flag}, or 0 to pick a free one",
        code="port_taken",
    )


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
