"""The API on a real port, over a runtime with rows that a test writes."""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import uvicorn
from uvicorn.server import ServerState

from stepwell.engine.turn import EngineConfig
from stepwell.server.api import build_api
from stepwell.server.api.event_http import EventHttp
from stepwell.server.clock import SystemClock
from stepwell.server.ids import SystemIds
from stepwell.server.runtime import Runtime
from stepwell.server.settings import Settings
from stepwell.server.worker_history import WorkerHistory
from stepwell.server.workers import WorkerBook
from stepwell.store.committer import Committer
from stepwell.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from stepwell.engine.rows import Write

GATEWAY_URL = "ws://gateway:8289/v0/connect"


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Api:
    """The server under test, and a client for it."""

    def __init__(
        self,
        *,
        store: MemoryStore,
        runtime: Runtime,
        book: WorkerBook,
        history: WorkerHistory,
    ) -> None:
        self.connections: set[Any] = set()  # the protocols at work
        self.store = store
        self.runtime = runtime
        self.book = book
        self.history = history  # to be entered by a test that wants workers stored
        self.drained = False
        self.port = 0
        self.session: aiohttp.ClientSession

    async def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        """One request; underscores in header names are dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else io.BytesIO(body),
            headers=named,
        ) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, found, await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, None, **headers)

    async def post(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        return await self.request("POST", path, body, **headers)

    async def raw(self, *parts: bytes) -> bytes:
        """Send bytes as they are; the answer up to the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def open_api(
    rows: Sequence[Write] = (), *, body_timeout_s: float = 5.0, **settings: Any
) -> AsyncIterator[Api]:
    """Serve the API over these rows."""
    loop = asyncio.get_running_loop()
    store = MemoryStore()
    store.commit(rows)
    runtime = Runtime(
        store=store,
        committer=Committer(store, loop),
        config=EngineConfig(lease_ms=120_000, reconnect_grace_ms=15_000, retry_interval_ms=None),
        ids=SystemIds(),
        clock=SystemClock(),
        loop=loop,
    )
    runtime.start()
    book = WorkerBook()
    history = WorkerHistory(runtime=runtime, book=book, kept_max=1_000, kept_ms=2**41)
    api = Api(store=store, runtime=runtime, book=book, history=history)
    app = build_api(
        runtime=runtime,
        settings=Settings(**settings),
        book=book,
        worker_history=history,
        gateway_url=lambda _host: GATEWAY_URL,
        mint_session_token=lambda connection_id: f"token of {connection_id}",
        drained=lambda: api.drained,
        body_timeout_s=body_timeout_s,
    )
    config = uvicorn.Config(app, ws="none", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    api.connections = state.connections
    # The protocol alone: `uvicorn.Server` takes a fifth of a second to stop.
    server = await loop.create_server(
        lambda: EventHttp(config=config, server_state=state, app_state={}, edge=app),
        "127.0.0.1",
        0,
    )
    api.port = server.sockets[0].getsockname()[1]
    try:
        async with aiohttp.ClientSession() as api.session:
            yield api
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        while state.connections or state.tasks:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        await runtime.close()
