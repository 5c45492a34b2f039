"""Programs that listen, each on a thread of this process: ASGI under uvicorn, WSGI under others."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn
from werkzeug.serving import make_server as make_werkzeug_server

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 10.0


@contextmanager
def under_uvicorn(app: Any, **options: Any) -> Iterator[int]:
    """The port of an ASGI program."""
    listener = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    config = uvicorn.Config(app, log_level="warning", ws="none", **options)
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert started.wait(WAIT_S)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        listener.close()
    assert not thread.is_alive()


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def under_wsgiref(app: Any) -> Iterator[int]:
    """The port of a WSGI program."""
    server = make_server("127.0.0.1", 0, app, _Threaded, _Silent)
    with _serving(server):
        yield server.server_port


@contextmanager
def under_werkzeug(app: Any) -> Iterator[int]:
    """The port of a WSGI program under the server that Flask's users develop with."""
    server = make_werkzeug_server("127.0.0.1", 0, app, threaded=True)
    with _serving(server):
        yield server.port


@contextmanager
def _serving(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(WAIT_S)
        server.server_close()
