"""Functions in any ASGI program: as the program itself, mounted, or behind a route.

While a call runs, the connection is watched. A server that hangs up does not want the outcome any
more, because the run was cancelled or the call was given to somebody else; then an async function
is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import msgspec

from stepwell.serve.messages import (
    Request,
    Response,
    origin_of,
    quoted_path,
    read_headers,
    read_query,
)
from stepwell.serve.options import resolve_options, serve_path_of
from stepwell.serve.orders import CallOrder
from stepwell.serve.shell import Shell
from stepwell.serve.streaming import HEARTBEAT, HEARTBEAT_S, STREAM_HEADERS, envelope

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from stepwell.client import Client
    from stepwell.function import Function

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

T = TypeVar("T")

_STREAMED: Final = 201
_log = logging.getLogger("stepwell.serve")


def serve(
    client: Client,
    functions: Sequence[Function[Any]],
    *,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    enable_unauthed_sync: bool | None = None,
    streaming: object = None,
) -> AsgiApp:
    """Make an ASGI app that serves functions at whatever path it is reached.

    Args:
        serve_origin: Scheme and host under which the server reaches the program; by default
            what each request says.
        serve_path: The same for the path.
        enable_unauthed_sync: Whether a sync in production may go without a signature; by
            default if `serve_origin` is given.
        streaming: Answer calls at once and keep the connection alive while they run.
    Raises:
        ConfigError: The functions cannot be served, or an option cannot be used.
    """
    options = resolve_options(
        framework="asgi",
        serve_origin=serve_origin,
        public_path=serve_path_of(serve_path),
        enable_unauthed_sync=enable_unauthed_sync,
        streaming=streaming,
    )
    return AsgiApp(Shell(client, functions, options))


class AsgiApp:
    """An ASGI app. Made by `serve`."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await _lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close"})
            case other:
                raise ValueError(f"{other!r} is not a protocol that is served here")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._shell.app
        head = _head(scope)
        response = app.refuse(head)
        if response is None and head.method != "GET":
            body = await _read(receive, app.bytes_max(head.method))
            if body is None:
                return  # the caller is gone
            head = msgspec.structs.replace(head, body=body)
        if response is None:
            order = await self._shell.receive(head)
            if not isinstance(order, Response):
                work = self._shell.perform(order)
                if isinstance(order, CallOrder) and app.options.streaming:
                    await _stream(receive, send, work)
                    return
                response = await _unless_gone(receive, work)
                if response is None:
                    return
            else:
                response = order
        await _send(send, response)


def _head(scope: Scope) -> Request:
    headers = read_headers(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
    )
    root, path = scope.get("root_path") or "", scope["path"]
    if not path.startswith(root):  # some servers leave out of the path what is before the app
        path = root + path
    return Request(
        method=scope["method"],
        origin=origin_of(scope.get("scheme", "http"), headers.get("host"), scope.get("server")),
        path=quoted_path(path),
        query=read_query(scope.get("query_string", b"").decode("latin-1")),
        headers=headers,
    )


async def _read(receive: Receive, bytes_max: int) -> bytes | None:
    """The body, or a little more than is allowed of it; None if the caller hung up."""
    pieces: list[bytes] = []
    size = 0
    while size <= bytes_max:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if not message.get("more_body", False):
            break
    return b"".join(pieces)


async def _unless_gone(
    receive: Receive,
    work: Coroutine[Any, Any, T],
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> T | None:
    """What the work comes to; None if the caller hung up before, and the work is cancelled.

    Args:
        meanwhile: Called every `HEARTBEAT_S` until then.
    """
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        watch = tasks.create_task(_gone(receive, task))
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=HEARTBEAT_S if meanwhile else None)
                if meanwhile and not task.done():
                    await meanwhile()
        finally:
            watch.cancel()
    return None if task.cancelled() else task.result()


async def _gone(receive: Receive, task: asyncio.Task[Any]) -> None:
    """Cancel the task when the caller hangs up."""
    try:
        message = await receive()
        while message["type"] != "http.disconnect":
            message = await receive()
    except Exception as error:  # something between the server and us allows no more reading
        _log.debug("the connection of a call cannot be watched: %s", error)
        return
    task.cancel()


async def _stream(receive: Receive, send: Send, work: Coroutine[Any, Any, Response]) -> None:
    async def heartbeat() -> None:
        await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})

    await _start(send, _STREAMED, STREAM_HEADERS)
    await heartbeat()
    response = await _unless_gone(receive, work, heartbeat)
    if response is not None:
        await send({"type": "http.response.body", "body": envelope(response), "more_body": False})


async def _send(send: Send, response: Response) -> None:
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    await _start(send, response.status, headers)
    await send({"type": "http.response.body", "body": response.body})


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode("latin-1"), text.encode("latin-1"))
           for name, text in headers.items()]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _lifespan(receive: Receive, send: Send) -> None:
    """There is nothing to start and nothing to stop."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
