"""One worker and the server that a test plays for it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import stepwell
from stepwell.connect import WorkerConnection, connect
from tests.unit.connect.gateway import Gateway, Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stepwell import Context, ContextSync, Function


class Story:
    """One app with one function, and the server that it talks to.

    The function's body is `run`; a test lets it wait, fail or count.
    """

    def __init__(self, gateway: Gateway, worker: WorkerConnection) -> None:
        self.gateway = gateway
        self.worker = worker
        self.started: asyncio.Task[None] | None = None

    async def ready(self, **options: Any) -> Peer:
        """The next socket of the worker, its handshake complete."""
        peer = await self.gateway.accept()
        await peer.handshake(**options)
        return peer

    async def ended(self) -> None:
        """Wait for `start()` to return or raise."""
        assert self.started is not None
        await self.started


@asynccontextmanager
async def story(
    *functions: Callable[[stepwell.Client], Function[Any]], starts: bool = True, **options: Any
) -> AsyncIterator[Story]:
    """Start a worker; at the end it is stopped, if the test has not done so."""
    async with Gateway() as gateway:
        client = stepwell.Client(
            app_id="shop", api_base_url=gateway.api_url, is_production=False, app_version="v1"
        )
        options.setdefault("shutdown_signals", [])
        worker = connect([(client, [declare(client) for declare in functions])], **options)
        told = Story(gateway, worker)
        if starts:
            told.started = asyncio.create_task(worker.start())
        try:
            yield told
        finally:
            if told.started is not None:
                told.started.cancel()  # if it has not ended
                await asyncio.wait([told.started])


@asynccontextmanager
async def story_elsewhere(
    *functions: Callable[[stepwell.Client], Function[Any]], **options: Any
) -> AsyncIterator[Story]:
    """The same, with a thread for the program, so that it may block while the server goes on."""
    async with Gateway() as gateway:
        client = stepwell.Client(
            app_id="shop", api_base_url=gateway.api_url, is_production=False, app_version="v1"
        )
        worker = connect([(client, [declare(client) for declare in functions])], **options)
        told = Story(gateway, worker)
        told.started = asyncio.create_task(
            asyncio.to_thread(lambda: asyncio.run(worker.start())), name="program"
        )
        try:
            yield told
        finally:
            for _ in range(2):
                await worker.close()
            await told.started


def declared(
    handler: Any, fn_id: str = "ship", **options: Any
) -> Callable[[stepwell.Client], Function[Any]]:
    def declare(client: stepwell.Client) -> Function[Any]:
        return client.create_function(
            fn_id=fn_id, trigger=stepwell.TriggerEvent(event="order/paid"), **options
        )(handler)

    return declare


async def total(ctx: Context) -> int:
    """A function without steps."""
    return int(ctx.event.data.get("total", 0)) * 2


class Held:
    """An async function that waits until it is released, and counts its runs."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.runs = 0

    async def __call__(self, _ctx: Context) -> str:
        self.runs += 1
        self.begun.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "released"


class HeldSync:
    """The same, sync."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.ended = threading.Event()

    def __call__(self, _ctx: ContextSync) -> str:
        self.begun.set()
        assert self.release.wait(5)
        self.ended.set()
        return "released"
