"""Functions in any WSGI program. A function runs on the thread of its request."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.serve.messages import (
    Request,
    origin_of,
    quoted_path,
    read_headers,
    read_query,
)
from stepwell.serve.options import resolve_options, serve_path_of
from stepwell.serve.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol
    from wsgiref.types import StartResponse, WSGIEnvironment

    from stepwell.client import Client
    from stepwell.function import Function

    class Readable(Protocol):
        def read(self, size: int, /) -> bytes: ...


def serve(
    client: Client,
    functions: Sequence[Function[Any]],
    *,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    enable_unauthed_sync: bool | None = None,
) -> WsgiApp:
    """Make a WSGI app that serves functions at whatever path it is reached.

    Sync functions run on the request's thread, async functions there too, on a new event loop.

    Args:
        serve_origin: Scheme and host under which the server reaches the program; by default
            what each request says.
        serve_path: The same for the path.
        enable_unauthed_sync: Whether a sync in production may go without a signature; by
            default if `serve_origin` is given.
    Raises:
        ConfigError: The functions cannot be served, or an option cannot be used.
    """
    options = resolve_options(
        framework="wsgi",
        serve_origin=serve_origin,
        public_path=serve_path_of(serve_path),
        enable_unauthed_sync=enable_unauthed_sync,
        streaming=False,
    )
    return WsgiApp(Shell(client, functions, options))


class WsgiApp:
    """A WSGI app. Made by `serve`."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = self._shell.app
        request = head_of(environ)
        response = app.refuse(request)
        if response is None:
            bytes_max = app.bytes_max(request.method)
            if request.method != "GET":
                body = read_body(environ, request, bytes_max)
                request = msgspec.structs.replace(request, body=body)
            response = self._shell.respond_here(request)
        headers = {**response.headers, "Content-Length": str(len(response.body))}
        start_response(
            f"{response.status} {HTTPStatus(response.status).phrase}", list(headers.items())
        )
        return [response.body]


def head_of(environ: WSGIEnvironment) -> Request:
    """A request but for its body."""
    headers = {
        name[5:].replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_LENGTH"):
        headers["content-length"] = environ["CONTENT_LENGTH"]
    named = read_headers(headers.items())
    port = str(environ.get("SERVER_PORT") or "")
    server = (environ.get("SERVER_NAME") or "localhost", int(port) if port.isdigit() else None)
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    return Request(
        method=environ["REQUEST_METHOD"],
        origin=origin_of(environ["wsgi.url_scheme"], named.get("host"), server),
        path=quoted_path(path.encode("latin-1")),  # WSGI's texts are bytes in disguise
        query=read_query(environ.get("QUERY_STRING", "")),
        headers=named,
    )


def read_body(environ: WSGIEnvironment, head: Request, bytes_max: int) -> bytes:
    """The body, or a byte more than is allowed of it."""
    announced = head.announced_bytes
    if announced is None and not environ.get("wsgi.input_terminated"):
        return b""  # reading on would wait for what never comes
    size = bytes_max + 1 if announced is None else min(announced, bytes_max + 1)
    return read_up_to(environ["wsgi.input"], size)


def read_up_to(source: Readable, size: int) -> bytes:
    """So many bytes, or all that there are."""
    pieces: list[bytes] = []
    while size > 0 and (piece := source.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
