"""An event API of the test's own: it answers what it is told to, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable


class Post(msgspec.Struct, frozen=True):
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: Any

    @property
    def events(self) -> list[dict[str, Any]]:
        assert isinstance(self.body, list)
        return self.body

    @property
    def seed(self) -> str:
        return self.headers["X-Inngest-Event-Id-Seed"]


class EventServer:
    """Give each answer of `answers` once, then 200 with one id an event.

    An answer is (status, body, headers), or None to end the connection without one.
    """

    def __init__(self, path: str = "/e/{key}") -> None:
        self._path = path
        self.posts: list[Post] = []
        self.came = threading.Event()
        self.answers: list[tuple[int, Any, dict[str, str]] | None] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stop: Callable[[], Any] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._stop is not None
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post(self._path, self._post)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._stop = runner.cleanup

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = msgspec.json.decode(await request.read())
        self.posts.append(Post(request.raw_path, dict(request.headers), body))
        self.came.set()
        number = len(self.posts)
        if not self.answers:
            ids = [f"id-{number}-{place}" for place in range(len(body))]
            return web.json_response({"ids": ids, "status": 200})
        answer = self.answers.pop(0)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, said, headers = answer
        if isinstance(said, str):
            return web.Response(status=status, text=said, headers=headers)
        return web.json_response(said, status=status, headers=headers)
