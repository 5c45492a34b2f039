"""A proxy between the server and an app that is served over HTTP: it records, and passes all on."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.compat.recording import UNTARGETED, reply_from

if TYPE_CHECKING:
    from tests.compat.recording import Recording

APP_ANSWERS_S = 60.0
CHUNK_BYTES = 64 * 1024
NOT_FOUND = b"no such site"
# Of one connection, or replaced by what this proxy does itself.
HOP_HEADERS = {"connection", "content-length", "keep-alive", "transfer-encoding"}


class _Server(ThreadingHTTPServer):
    request_queue_size = 512  # a server makes many calls at once, each on its own connection


class HttpTap:
    """Listens on a port of its own; `target` is the app's port, set before the first call.

    Attributes:
        refuses: Calls of a function that are answered 404 here, as by a proxy on the way: how many
            more, by its id.
    """

    def __init__(self, recording: Recording) -> None:
        self.target = 0
        self.refuses: Counter[str] = Counter()
        tap = self

        class Handler(BaseHTTPRequestHandler):
            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    self.close_connection = True  # the server was killed, or is done with it

            def do_GET(self) -> None:
                tap.relay(self, recording)

            do_POST = do_PUT = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the recording says it."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def origin(self) -> str:
        """Where the server reaches the app."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def relay(self, handler: BaseHTTPRequestHandler, recording: Recording) -> None:
        """One request to the app and its answer back, as it comes."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        query = parse_qs(urlsplit(handler.path).query)
        call = None
        if handler.command == "POST" and "fnId" in query:
            call = recording.begin(
                run_id=handler.headers.get("X-Run-ID", ""),
                slug=query["fnId"][0],
                step=query.get("stepId", [UNTARGETED])[0],
                body=body,
            )
            if self.refuses[call.function] > 0:
                self.refuses[call.function] -= 1
                call.reply = reply_from(status=404, body=NOT_FOUND)
                handler.send_response(404)
                handler.send_header("Content-Length", str(len(NOT_FOUND)))
                handler.end_headers()
                handler.wfile.write(NOT_FOUND)
                return
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in HOP_HEADERS}
        app = http.client.HTTPConnection("127.0.0.1", self.target, timeout=APP_ANSWERS_S)
        try:
            app.request(handler.command, handler.path, body, {**headers, "Connection": "close"})
            response = app.getresponse()
            handler.send_response_only(response.status, response.reason)
            for name, value in response.getheaders():
                if name.lower() not in HOP_HEADERS:
                    handler.send_header(name, value)
            handler.send_header("Connection", "close")
            answer = b""
            with contextlib.suppress(ConnectionError):  # the app's answer to a server that is gone
                handler.end_headers()
            while chunk := response.read1(CHUNK_BYTES):
                answer += chunk
                with contextlib.suppress(ConnectionError):
                    handler.wfile.write(chunk)
            if call is not None:
                version = response.headers.get("X-Inngest-Req-Version")
                call.reply = reply_from(
                    status=response.status,
                    body=answer,
                    version=int(version) if version else None,
                    no_retry=response.headers.get("X-Inngest-No-Retry") == "true",
                )
        finally:
            app.close()
            handler.close_connection = True
