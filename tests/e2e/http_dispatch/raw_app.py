"""An app of raw sockets: it answers byte for byte what a test says, however wrong that is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.e2e.api.served import Served

    Handler: TypeAlias = Callable[["Request", "Link"], Awaitable[None]]

SDK = "inngest-py:v0.5.19"
STEP_ID = "a" * 40


class Request:
    """What came in. Names of headers are in small letters."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        self.body = body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


class Link:
    """One connection to the app."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """End it without a goodbye."""
        self._writer.transport.abort()


class RawApp:
    """Listens on 127.0.0.1; records requests. Handlers may write nothing, or anything.

    Attributes:
        connections: How many came in.
        hung_up: Set when a peer has closed a connection.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[Request] = []
        self.connections = 0
        self.hung_up = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/inngest"

    async def __aenter__(self) -> RawApp:
        await self.listen()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def listen(self) -> None:
        """Be there, again at the same port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection has its task"
        self._tasks.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = Request(head[:-4], b"").headers.get("content-length", "0")
                request = Request(head[:-4], await reader.readexactly(int(length)))
                self.requests.append(request)
                await self._answer(request, Link(writer), reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()

    async def _answer(self, request: Request, link: Link, reader: asyncio.StreamReader) -> None:
        """Let the handler answer, and notice when the peer hangs up meanwhile."""
        answering = asyncio.ensure_future(self.handler(request, link))
        listening = asyncio.ensure_future(self._until_closed(reader))
        await asyncio.wait((answering, listening), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
            raise ConnectionResetError
        listening.cancel()
        await answering

    @staticmethod
    async def _until_closed(reader: asyncio.StreamReader) -> None:
        # Reading could take the beginning of the next request, and there is no event for the end.
        while not reader.at_eof():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def response(
    status: int, body: bytes = b"", *, sdk: str | None = SDK, **headers: str | int
) -> bytes:
    """A whole answer. Underscores in names of headers are hyphens."""
    named: dict[str, str | int] = {"Content-Length": len(body), "Content-Type": "application/json"}
    if sdk is not None:
        named["X-Inngest-SDK"] = sdk
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Some words\r\n{lines}\r\n".encode() + body


def always(raw: bytes, *, closes: bool = False) -> Handler:
    """Answer every request with these bytes."""

    async def answer(_request: Request, link: Link) -> None:
        await link.write(raw)
        if closes:
            link.close()

    return answer


def one_after_the_other(*answers: bytes) -> Handler:
    """The first request gets the first answer, and so on; the last one is repeated."""
    left = list(answers)

    async def answer(_request: Request, link: Link) -> None:
        await link.write(left.pop(0) if len(left) > 1 else left[0])

    return answer


def step_op(**fields: object) -> bytes:
    op = {"op": "StepRun", "id": STEP_ID, "displayName": "charge", "data": {"n": 1}} | fields
    return json.dumps([op]).encode()


def registration(url: str, app: str = "shop", **fields: Any) -> dict[str, Any]:
    """The body of a sync: one function `ship`, started by `shop/order.paid`."""
    function = {
        "id": f"{app}-ship",
        "name": "ship",
        "triggers": [{"event": f"{app}/order.paid"}],
        "steps": {
            "step": {
                "id": "step",
                "name": "step",
                "runtime": {"type": "http", "url": f"{url}?fnId={app}-ship&stepId=step"},
                "retries": {"attempts": 4},
            }
        },
    }
    return {"appName": app, "url": url, "sdk": "py:v0.5.19", "framework": "raw",
            "functions": [function]} | fields  # fmt: skip


async def register(served: Served, url: str, **fields: Any) -> None:
    """Have an app at this URL in force."""
    body = msgspec.json.encode(registration(url, **fields))
    status, answer = await served.request("POST", "/fn/register", body)
    assert status == 200, answer


@contextlib.asynccontextmanager
async def app(handler: Handler, served: Served) -> AsyncIterator[RawApp]:
    """An app that is registered."""
    async with RawApp(handler) as raw:
        await register(served, raw.url)
        yield raw
