"""A scripted HTTP server in place of Stepwell's, and the command line run in this process."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from stepwell.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Request(msgspec.Struct, frozen=True):
    """What the scripted server was asked."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


class ScriptedApi:
    """Answers with what the test put under the path; the last answer is repeated."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._answers: dict[str, list[tuple[int, bytes]]] = {}
        self.hang_up_after_each = False
        self.is_ours = True

    def answer(self, path: str, content: Any, status: int = 200) -> None:
        """Add one answer; `bytes` are sent as they are, anything else as JSON."""
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        self._answers.setdefault(path, []).append((status, body))

    def take(self, request: Request) -> tuple[int, bytes]:
        self.requests.append(request)
        answers = self._answers.get(request.path)
        if not answers:
            return 404, b'{"errors":[{"code":"not_found","message":"Nothing here"}]}'
        return answers.pop(0) if len(answers) > 1 else answers[0]

    @property
    def last(self) -> Request:
        return self.requests[-1]


@pytest.fixture
def api_server() -> Iterator[tuple[ScriptedApi, str]]:
    """The script and the URL where it plays."""
    script = ScriptedApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _play(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            status, body = script.take(
                Request(
                    method=self.command,
                    path=url.path,
                    query=parse_qsl(url.query),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(length),
                )
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if script.is_ours:
                self.send_header("X-Inngest-Server-Kind", "dev")
            self.end_headers()
            self.wfile.write(body)
            # Without saying so: the client finds out with its next request.
            self.close_connection = script.hang_up_after_each

        do_GET = do_POST = do_PUT = do_DELETE = _play

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: pytest shows what matters."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield script, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def script(api_server: tuple[ScriptedApi, str]) -> ScriptedApi:
    return api_server[0]


class Ran(msgspec.Struct, frozen=True):
    """What a command left."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ran]:
    """Run a command line in an empty directory, without settings from outside."""
    for name in ("BASE_URL", "API_BASE_URL", "EVENT_API_BASE_URL", "DEV", "CONFIG",
                 "SIGNING_KEY", "SIGNING_KEY_FALLBACK", "EVENT_KEY"):  # fmt: skip
        monkeypatch.delenv(f"STEPWELL_{name}", raising=False)
        monkeypatch.delenv(f"INNGEST_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")

    def run(*words: str) -> Ran:
        code = main(list(words))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def ask(run: Callable[..., Ran], api_server: tuple[ScriptedApi, str]) -> Callable[..., Ran]:
    """Run a command against the scripted server."""
    return lambda *words: run(*words, "--url", api_server[1])
