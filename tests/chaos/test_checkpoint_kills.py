"""The server is killed at the points of a checkpoint's way; the SDK sends it again, as SDKs do.

What is on the way to the disk when its answer is not out yet, is held there by a disk that stalls.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.wire.connect import SDKResponse, Status
from tests.chaos.scene import Scene
from tests.compat.api import Api, wait_for
from tests.e2e.api.checkpointed import done, op, step_id
from tests.e2e.http_dispatch.raw_app import SDK, registration
from tests.faulty_disk.orders import FaultyDisk, Orders
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.compat.api import Answer
    from tests.server_process import ServerProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(60)]

STALL_MS = 120_000  # longer than any test: who stalls is killed
HAPPENS_S = 20.0


class Report:
    """A checkpoint that was sent; `answer` is None until there is one, and if there never is."""

    def __init__(self, api: Api, run_id: str, request_id: str, *ops: dict[str, Any]) -> None:
        self.answer: Answer | None = None
        body = {"run_id": run_id, "request_id": request_id, "steps": list(ops)}
        self._sent = threading.Thread(target=self._send, args=(api, run_id, body))
        self._sent.start()

    def _send(self, api: Api, run_id: str, body: dict[str, Any]) -> None:
        path = f"/v1/checkpoint/{run_id}/async"
        try:
            self.answer = api.request("POST", path, msgspec.json.encode(body), timeout_s=HAPPENS_S)
        except (OSError, http.client.HTTPException):
            self.answer = None  # the server was killed

    def status(self) -> int | None:
        """The answer's; None if the connection ended without one."""
        self._sent.join(HAPPENS_S)
        return None if self.answer is None else self.answer.status


def call_of(scene: Scene) -> tuple[str, str, str]:
    """A worker is at a call: the event, the run, and the call's request id."""
    scene.raw_worker("ack")
    event_id = scene.send("ship", gate="gate")
    poll(lambda: bool(scene.stage.ran("raw ack")), "the call to be taken", timeout_s=HAPPENS_S)
    (call,) = scene.stage.ran("raw call")
    return event_id, call["run"], call["request"]


def goes_on(scene: Scene, event_id: str, request_id: str, *before: str) -> None:
    """The call is still its worker's, which ends it; the steps that were reported stay."""
    end = msgspec.json.encode([done("last"), op("RunComplete", "complete", data="end")])
    flushed = SDKResponse(
        request_id=request_id,
        status=Status.NOT_COMPLETED,  # type: ignore[arg-type]
        body=end,
        request_version=2,
    )
    answer = scene.api.request("POST", "/v0/connect/flush", flushed.SerializeToString())
    assert answer.status == 200
    assert scene.api.completed(event_id, timeout_s=HAPPENS_S) == "end"
    names = [step.name for step in scene.api.steps(scene.api.run_id(event_id))]
    assert names == [*before, "last"]


def test_stored_and_not_answered_and_sent_again(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path)
    with Scene(tmp_path, disk=disk) as scene:
        event_id, run_id, request_id = call_of(scene)
        disk.order(Orders(stall_ms=STALL_MS, stalls_max=1))
        steps = (done("a", 1), done("b", 2))
        first = Report(scene.api, run_id, request_id, *steps)
        poll(lambda: disk.report().is_stalling, "it to reach the disk", timeout_s=HAPPENS_S)

        rows = scene.kill_server()

        assert rows.runs[run_id].steps == ["a", "b"]
        assert rows.runs[run_id].request_ids == [request_id]
        assert first.status() is None
        scene.server.start()
        assert Report(scene.api, run_id, request_id, *steps).status() == 200
        assert Report(scene.api, run_id, request_id, done("a", 3)).status() == 200
        assert Report(scene.api, run_id, request_id, done("c", 3)).status() == 200
        found = scene.api.get(f"/v0/runs/{run_id}/actions")
        assert found == {step_id(name): {"data": n} for n, name in enumerate("abc", 1)}
        scene.server.kill()
        scene.server.start()
        goes_on(scene, event_id, request_id, "a", "b", "c")


def test_not_read_and_sent_again(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        event_id, run_id, request_id = call_of(scene)
        with scene.server_stopped():
            first = Report(scene.api, run_id, request_id, done("a", 1))
            rows = scene.kill_server()
        assert rows.runs[run_id].steps == []
        assert first.status() is None
        scene.server.start()
        assert Report(scene.api, run_id, request_id, done("a", 1)).status() == 200
        goes_on(scene, event_id, request_id, "a")


def test_a_copy_waits_for_the_first_one_to_be_on_the_disk(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path)
    with Scene(tmp_path, "--log-level=debug", disk=disk) as scene:
        event_id, run_id, request_id = call_of(scene)
        disk.order(Orders(stall_ms=20))
        poll(lambda: _leaves_the_loop(scene), "commits to leave the loop", timeout_s=HAPPENS_S)
        disk.order(Orders(stall_ms=STALL_MS, stalls_max=1))
        reports = [Report(scene.api, run_id, request_id, done("a", 1))]
        poll(lambda: disk.report().is_stalling, "it to reach the disk", timeout_s=HAPPENS_S)
        reports += [Report(scene.api, run_id, request_id, done("a", 1)) for _ in range(3)]
        for _ in range(50):  # each is read after the copies
            assert scene.api.status(event_id) == "Running"
        assert disk.report().is_stalling
        assert [each.answer for each in reports] == [None] * 4

        scene.kill_server()

        assert [each.status() for each in reports] == [None] * 4
        scene.server.start()
        assert Report(scene.api, run_id, request_id, done("a", 1)).status() == 200
        goes_on(scene, event_id, request_id, "a")


def test_what_the_disk_refuses_is_not_stored_and_may_come_again(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path)
    with Scene(tmp_path, disk=disk) as scene:
        event_id, run_id, request_id = call_of(scene)
        disk.order(Orders(refuses="full"))
        assert Report(scene.api, run_id, request_id, done("a", 1)).status() == 503
        disk.mend()
        wait_for(
            lambda: Report(scene.api, run_id, request_id, done("a", 2)).status() == 200 or None,
            "the disk to be used again",
        )
        assert scene.api.get(f"/v0/runs/{run_id}/actions") == {step_id("a"): {"data": 2}}
        goes_on(scene, event_id, request_id, "a")


def _leaves_the_loop(scene: Scene) -> bool:
    scene.send("nothing/listens")
    return "they leave the event loop" in scene.server.log


class App(ThreadingHTTPServer):
    """Answers calls without steps when it is let go, others with the end of the run."""

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
            self.server.let_go.wait()
        body = msgspec.json.encode([op("RunComplete", "complete", data="end")])
        self.send_response(206)
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


def test_over_http_the_call_is_made_again_with_what_was_stored(
    start_server: Callable[..., ServerProcess], app: App
) -> None:
    server = start_server()
    api = Api(lambda: server.api_url)
    synced = api.request("POST", "/fn/register", msgspec.json.encode(registration(app.url)))
    assert synced.status == 200
    event_id = api.send("shop/order.paid")
    poll(lambda: len(app.calls) == 1, "the call", timeout_s=HAPPENS_S)
    run_id, first = app.calls[0]["ctx"]["run_id"], app.calls[0]["ctx"]["request_id"]
    assert Report(api, run_id, first, done("a", 1)).status() == 200

    server.kill()
    server.start()

    assert api.completed(event_id, timeout_s=HAPPENS_S) == "end"
    (_, again) = app.calls
    assert again["steps"] == {step_id("a"): {"data": 1}}
    assert (again["ctx"]["attempt"], again["ctx"]["request_id"] == first) == (0, False)
    late = Report(api, run_id, first, done("b", 2))
    assert late.status() == 400, "the run is over, and the first call may stop"
    assert late.answer is not None
    assert late.answer.json()["code"] == "run_not_found"
