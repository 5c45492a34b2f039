"""A server somewhere else, which the server under test asks for a step."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


class Remote:
    """Answers by path as it was told, one answer after the other; the last one again and again."""

    def __init__(self) -> None:
        self._answers: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        remote = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, body = remote.next_answer(urlsplit(self.path).path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: `count` says it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def origin(self) -> str:
        """Such as `http://127.0.0.1:40123`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answers(self, path: str, *answers: tuple[int, bytes]) -> None:
        """What it says to requests of this path, from now on."""
        self._answers[path] = list(answers)

    def count(self, path: str) -> int:
        """How often it was asked."""
        return self._counts[path]

    def next_answer(self, path: str) -> tuple[int, bytes]:
        """For the handler."""
        self._counts[path] += 1
        answers = self._answers[path]
        if not answers:
            return 404, b"nothing here"
        return answers.pop(0) if len(answers) > 1 else answers[0]
