"""The same over HTTP: programs that serve functions whose calls go on, and that are killed."""

from __future__ import annotations

import contextlib
import http.client
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.compat.lasting_server import free_port
from tests.compat.worker import OURS, WorkerProcess
from tests.e2e.checkpointing.eager_scene import APP, APP_ID, CHAIN, FAN, WAIT_S, EagerScene
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(90)

SERVED = Path(__file__).with_name("apps") / "served.py"
REPEATED = {"safe": 0, "blended": 2, "performant": 4}


class Program:
    """A web program with the functions, which comes back at the same address."""

    def __init__(self, process: WorkerProcess, port: int) -> None:
        self.process = process
        self._port = port

    def register(self) -> None:
        """What a deployment does: have the app register."""
        poll(self._registers, "the app to register", timeout_s=WAIT_S)

    def kill(self) -> None:
        self.process.kill()

    def start(self) -> None:
        self.process.start()
        self.register()

    def _registers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("PUT", "/api/inngest")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[EagerScene]:
    with EagerScene(tmp_path, "--retry-interval", "1") as scene:
        yield scene


@pytest.fixture
def serve(scene: EagerScene) -> Iterator[Callable[[str], Program]]:
    running = contextlib.ExitStack()

    def begin(framework: str) -> Program:
        port = free_port()
        environ: dict[str, str | None] = {"PORT": str(port), "FRAMEWORK": framework}
        process = WorkerProcess(
            APP.read_text().partition("if __name__")[0] + SERVED.read_text(),
            sdk=OURS,
            url=scene.server.api_url,
            app_id=APP_ID,
            stage=scene.stage,
            environ=environ,
        )
        program = Program(running.enter_context(process), port)
        program.register()
        return program

    with running:
        yield begin


KINDS = [("fast_api", ""), ("flask", "-sync")]
kinds = pytest.mark.parametrize(("framework", "sync"), KINDS, ids=["fast_api", "flask"])


@kinds
@pytest.mark.parametrize("preset", ["safe", "blended", "performant"])
def test_program_is_killed(
    scene: EagerScene, serve: Any, framework: str, sync: str, preset: str
) -> None:
    program = serve(framework)
    event_id = scene.send(preset + sync, gate="step-4")
    scene.stage.reached("step-4")

    program.kill()
    program.start()
    scene.stage.reached("step-4", times=2)
    scene.stage.open("step-4")

    scene.completed(event_id, CHAIN)
    bodies = scene.bodies()
    assert {bodies[step] for step in CHAIN[5:]} == {1}
    assert bodies["step-4"] == 2
    assert sum(bodies[step] - 1 for step in CHAIN[:4]) <= REPEATED[preset]


@kinds
def test_server_is_killed(scene: EagerScene, serve: Any, framework: str, sync: str) -> None:
    serve(framework)
    event_id = scene.send("safe" + sync, gate="step-4")
    scene.stage.reached("step-4")

    scene.server.kill()
    scene.server.start()
    scene.stage.reached("step-4", times=2)  # the call ended with its connection
    scene.stage.open("step-4")

    scene.completed(event_id, CHAIN)
    bodies = scene.bodies()
    # The first call's report of the step is stale: it begins no other step.
    assert bodies["step-4"] == 2
    assert {bodies[step] for step in CHAIN if step != "step-4"} == {1}


def test_group_of_a_program_that_is_killed(scene: EagerScene, serve: Any) -> None:
    program = serve("fast_api")
    event_id = scene.send("safe-fan", gate="step-2")
    scene.stage.reached("step-2")
    scene.stored(event_id, "then-0", "then-1", "then-3")

    program.kill()
    program.start()
    scene.stage.reached("step-2", times=2)
    scene.stage.open("step-2")

    scene.completed(event_id, FAN)
    bodies = scene.bodies()
    assert bodies.pop("step-2") == 2
    assert set(bodies.values()) == {1}


@kinds
def test_run_is_cancelled(scene: EagerScene, serve: Any, framework: str, sync: str) -> None:
    serve(framework)
    cancelled = scene.send("safe" + sync, gate="step-4")
    scene.stage.reached("step-4")
    answer = scene.api.request("DELETE", f"/v1/runs/{scene.api.run_id(cancelled)}")
    assert answer.status in (200, 202, 204)
    scene.stage.open("step-4")
    scene.completed(scene.send("safe" + sync), CHAIN)  # so that there was time for another step

    run_id = scene.api.run_id(cancelled)
    begun = {note["step"] for note in scene.stage.ran("begin") if note["run"] == run_id}
    assert begun == set(CHAIN[:5])
