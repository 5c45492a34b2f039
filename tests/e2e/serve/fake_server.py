"""The server's side of serving, as far as an app calls it: registrations and large state."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from stepwell.wire.keys import bearer_matches

if TYPE_CHECKING:
    from collections.abc import Sequence


class Registration(NamedTuple):
    """A request that came to `/fn/register`."""

    path: str
    headers: dict[str, str]
    body: Any


class FakeServer:
    """Takes registrations, and gives the state of one run. A context manager.

    Attributes:
        keys: The signing keys that it knows; without any it asks for none.
        answer: Status and body for registrations.
        steps: Remembered results of any run that is asked for.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.keys = list(keys)
        self.answer: tuple[int, bytes] = (200, b'{"ok":true,"modified":true}')
        self.steps: dict[str, Any] = {}
        self.registrations: list[Registration] = []
        self.refused = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if server._knows(self):
                    server.registrations.append(
                        Registration(self.path, dict(self.headers), msgspec.json.decode(body))
                    )
                    self._say(*server.answer)

            def do_GET(self) -> None:
                if server._knows(self):
                    what = self.path.rpartition("/")[2]
                    state = {"actions": server.steps, "batch": []}[what]
                    self._say(200, msgspec.json.encode(state))

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def _knows(self, handler: Any) -> bool:
        if not self.keys or bearer_matches(handler.headers["Authorization"], self.keys):
            return True
        self.refused += 1
        handler._say(401, b"Authentication failed")
        return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
