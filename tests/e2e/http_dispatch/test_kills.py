"""A server that is killed while an app works on its call."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.e2e.http_dispatch.raw_app import SDK, registration, step_op
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server_process import ServerProcess

GRACE_S = 60
"""For workers; an app's calls do not wait for it."""


class App(ThreadingHTTPServer):
    """Reports one step, then returns. Its first answer to a call with that step is held back."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[dict[str, Any]] = []
        self.let_go = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/inngest"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A server that is killed hangs up in the middle: that is what is wanted."""


class Handler(BaseHTTPRequestHandler):
    server: App

    def do_POST(self) -> None:
        call = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append(call)
        if not call["steps"]:
            self._answer(206, step_op())
            return
        if sum(bool(each["steps"]) for each in self.server.calls) == 1:
            self.server.let_go.wait()
        self._answer(200, b'"done"')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("X-Inngest-SDK", SDK)
        self.send_header("X-Inngest-Req-Version", "2")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test's output is for the test."""


@pytest.fixture
def app() -> Iterator[App]:
    made = App()
    serving = threading.Thread(target=made.serve_forever, daemon=True)
    serving.start()
    yield made
    made.let_go.set()
    made.shutdown()
    made.server_close()
    serving.join()


def request(server: ServerProcess, method: str, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection(urlsplit(server.api_url).netloc, timeout=10)
    try:
        connection.request(method, path, None if body is None else msgspec.json.encode(body))
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return msgspec.json.decode(text)
    finally:
        connection.close()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_call_that_was_out_is_made_again_at_once(
    how: str, start_server: Callable[..., ServerProcess], app: App
) -> None:
    wait = ("--connect-reconnect-grace", str(GRACE_S), "--connect-drain-wait", "0.1")
    server = start_server(*wait)
    request(server, "POST", "/fn/register", registration(app.url))
    event = {"name": "shop/order.paid", "data": {}}
    event_id = request(server, "POST", "/e/key", event)["ids"][0]
    poll(lambda: len(app.calls) == 2, "the app to be at work", timeout_s=10)
    if how == "kill":
        server.kill()
    else:
        server.terminate()
    server.start()
    # Within the test's time, and that is much less than the grace.
    poll(lambda: bool(ended(server, event_id)), "the run to end", timeout_s=15)
    (run,) = ended(server, event_id)
    assert (run["status"], run["output"]) == ("Completed", "done")
    before, after = app.calls[1:]
    assert [call["ctx"]["attempt"] for call in app.calls] == [0, 0, 0]  # no attempt was used
    assert before["steps"] == after["steps"] != {}  # what was stored is not done again
    assert before["ctx"]["request_id"] != after["ctx"]["request_id"]


def ended(server: ServerProcess, event_id: str) -> list[dict[str, Any]]:
    runs = request(server, "GET", f"/v1/events/{event_id}/runs")["data"]
    return [run for run in runs if run["ended_at"] is not None]
