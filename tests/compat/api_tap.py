"""A proxy between an app and the server's API: it records checkpoints, and passes all on."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec

from tests.compat.http_tap import HOP_HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable

API_ANSWERS_S = 60.0
_PREFIXES = ("/v1/checkpoint/", "/v1/http/runs/")
_REFUSAL = b'{"error":"the proxy refuses it","data":null,"status":500}'


class Report(msgspec.Struct, kw_only=True):
    """A checkpoint: its body as it came, and what the server said to it.

    Attributes:
        sent_s: When it came, on the clock of `time.time`, which every program of a machine has.
        answered_s: Just before the answer was passed on.
        status: 0 if there was none.
    """

    body: dict[str, Any]
    sent_s: float
    answered_s: float = 0.0
    status: int = 0

    @property
    def steps(self) -> list[str]:
        """The names of its steps, in order."""
        return [op.get("displayName") or op["name"] for op in self.body["steps"]]


class ApiTap:
    """Listens on a port of its own.

    Args:
        url: The API's; asked before each request.

    Attributes:
        refuses: Checkpoints that are answered 500 here, unseen by the server: how many more, by
            the name of their first step.
    """

    def __init__(self, url: Callable[[], str]) -> None:
        self.refuses: Counter[str] = Counter()
        self._url = url
        self._reports: list[Report] = []
        self._lock = threading.Lock()
        tap = self

        class Handler(BaseHTTPRequestHandler):
            def handle(self) -> None:
                try:
                    super().handle()
                except (OSError, http.client.HTTPException):
                    self.close_connection = True  # the server was killed, or the app

            def do_GET(self) -> None:
                tap._relay(self)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: `reports` says it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def origin(self) -> str:
        """Where the app reaches the API."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, run_id: str) -> list[Report]:
        """A run's checkpoints in the order in which they came."""
        with self._lock:
            return [report for report in self._reports if report.body["run_id"] == run_id]

    def _relay(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        report = self._begin(handler.path, body)
        handler.close_connection = True
        if report is not None and self._refused(report):
            self._pass_on(handler, report, 500, [], _REFUSAL)
            return
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in HOP_HEADERS}
        api = http.client.HTTPConnection(urlsplit(self._url()).netloc, timeout=API_ANSWERS_S)
        try:
            api.request(handler.command, handler.path, body, {**headers, "Connection": "close"})
            response = api.getresponse()
            answer = response.read()
            self._pass_on(handler, report, response.status, response.getheaders(), answer)
        finally:
            api.close()

    def _begin(self, path: str, body: bytes) -> Report | None:
        if not (path.startswith(_PREFIXES) and path.endswith("/async")):
            return None
        report = Report(body=msgspec.json.decode(body), sent_s=time.time())
        with self._lock:
            self._reports.append(report)
        return report

    def _refused(self, report: Report) -> bool:
        first = next(iter(report.steps), "")
        with self._lock:
            refused = self.refuses[first] > 0
            self.refuses[first] -= refused
            return refused

    @staticmethod
    def _pass_on(
        handler: BaseHTTPRequestHandler,
        report: Report | None,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
    ) -> None:
        if report is not None:
            report.answered_s, report.status = time.time(), status
        handler.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_HEADERS:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)
