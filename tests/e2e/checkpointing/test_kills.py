"""Workers and servers that are killed amid calls that go on, over Connect."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.checkpointing.eager_scene import CHAIN, FAN, WAIT_S, EagerScene
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)

PRESETS = ("safe", "blended", "performant")
REPEATED = {"safe": 0, "blended": 2, "performant": 4}
"""How many of the steps before the one at work may run again."""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[EagerScene]:
    with EagerScene(tmp_path) as scene:
        yield scene


@pytest.mark.parametrize("sync", ["", "-sync"], ids=["async", "sync"])
@pytest.mark.parametrize("preset", PRESETS)
def test_worker_is_killed(scene: EagerScene, preset: str, sync: str) -> None:
    worker = scene.worker()
    event_id = scene.send(preset + sync, gate="step-4")
    scene.stage.reached("step-4")

    worker.kill()
    worker.start()
    scene.stage.reached("step-4", times=2)
    scene.stage.open("step-4")

    scene.completed(event_id, CHAIN)
    bodies = scene.bodies()
    assert {bodies[step] for step in CHAIN[5:]} == {1}
    assert bodies["step-4"] == 2
    assert sum(bodies[step] - 1 for step in CHAIN[:4]) <= REPEATED[preset]
    assert max(bodies.values()) == 2


@pytest.mark.parametrize("preset", PRESETS)
def test_worker_is_killed_amid_a_group(scene: EagerScene, preset: str) -> None:
    worker = scene.worker()
    event_id = scene.send(f"{preset}-fan", gate="step-2")
    scene.stage.reached("step-2")
    others = ("step-0", "step-1", "step-3", "then-0", "then-1", "then-3")
    poll(
        lambda: all(scene.bodies()[step] for step in others), "the other branches", timeout_s=WAIT_S
    )
    if preset != "performant":  # of which a second may have to be run again
        scene.stored(event_id, *others)

    worker.kill()
    worker.start()
    scene.stage.reached("step-2", times=2)
    scene.stage.open("step-2")

    scene.completed(event_id, FAN)
    bodies = scene.bodies()
    assert bodies["step-2"] == 2
    assert max(bodies.values()) == 2
    if preset != "performant":
        assert {bodies[step] for step in others} == {1}


@pytest.mark.parametrize("function", ["safe", "safe-sync", "blended", "performant", "safe-fan"])
def test_server_is_killed(scene: EagerScene, function: str) -> None:
    names = FAN if function.endswith("fan") else CHAIN
    gate = "step-2" if names is FAN else "step-4"
    scene.worker()
    event_id = scene.send(function, gate=gate)
    scene.stage.reached(gate)

    scene.server.kill()
    scene.stage.open(gate)  # the step ends, and is reported to nobody
    scene.server.start()

    scene.completed(event_id, names)
    assert set(scene.bodies().values()) == {1}


def test_server_is_killed_again_and_again(scene: EagerScene) -> None:
    scene.worker()
    events = [scene.send("safe", gate=f"step-{number}") for number in range(2, 6)]
    for number in range(2, 6):
        scene.stage.reached(f"step-{number}")
        scene.server.kill()
        scene.stage.open(f"step-{number}")
        scene.server.start()

    for event_id in events:
        scene.completed(event_id, CHAIN)
    assert set(scene.bodies().values()) == {len(events)}  # each once in each run


@pytest.mark.parametrize("function", ["safe", "safe-sync", "performant-sync"])
def test_run_is_cancelled(scene: EagerScene, function: str) -> None:
    worker = scene.worker()
    event_id = scene.send(function, gate="step-4")
    scene.stage.reached("step-4")

    answer = scene.api.request("DELETE", f"/v1/runs/{scene.api.run_id(event_id)}")
    assert answer.status in (200, 202, 204)
    scene.stage.open("step-4")
    poll(lambda: scene.api.status(event_id) == "Cancelled", "the end", timeout_s=WAIT_S)
    worker.terminate()  # which waits for calls that have not ended

    bodies = scene.bodies()
    assert bodies["step-4"] == 1
    if function != "performant-sync":  # which learns of it with its first report
        assert bodies["step-5"] == 0


@pytest.mark.parametrize("function", ["safe", "safe-sync", "performant", "safe-fan"])
def test_worker_that_stops_hands_over_at_the_next_step(scene: EagerScene, function: str) -> None:
    names = FAN if function.endswith("fan") else CHAIN
    gate = "step-2" if names is FAN else "step-4"
    leaving = scene.worker()
    event_id = scene.send(function, gate=gate)
    scene.stage.reached(gate)
    staying = scene.worker()

    leaving.signal(signal.SIGTERM)
    poll(
        lambda: any(
            each["status"] != "READY" for each in scene.api.workers(instanceId=leaving.instance_id)
        ),
        "the worker to leave",
        timeout_s=WAIT_S,
    )
    scene.stage.open(gate)
    scene.completed(event_id, names)

    assert set(scene.bodies().values()) == {1}
    pids = {note["step"]: note["pid"] for note in scene.stage.ran("begin")}
    assert pids[gate] != staying.pid
    assert pids["then-2" if names is FAN else "step-5"] == staying.pid
