"""Workers are killed at each point of a call's way, and others take over.

Sixteen kills by signal and three by the step itself; three with the official worker. The grace
for a lost worker is a second here, unless a test needs to tell it from giving a call away at once.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.chaos.scene import Scene
from tests.compat.api import wait_for
from tests.compat.worker import OFFICIAL, OURS
from tests.server_process import poll

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.worker import Sdk

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(60)]

BOTH = pytest.mark.parametrize(
    "sdk", [OURS, pytest.param(OFFICIAL, marks=pytest.mark.compat)], ids=lambda sdk: sdk.name
)
GRACE = ("--connect-reconnect-grace", "1")
REPLY_BYTES = 20_000


@BOTH
def test_running_a_step(tmp_path: Path, sdk: Sdk) -> None:
    with Scene(tmp_path, *GRACE) as scene:
        worker = scene.worker(sdk)
        event_id = scene.send("ship", gate="gate")
        scene.stage.reached("gate")
        run_id = scene.api.run_id(event_id)

        worker.kill()

        assert scene.api.step_names(run_id) == [], "it was killed before its result was sent"
        scene.worker(sdk)
        scene.stage.reached("gate", times=2)
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")
        assert [note["attempt"] for note in scene.bodies("pack", run_id)] == [0, 0]
        assert len(scene.bodies("send", run_id)) == 1


def test_running_five_steps_side_by_side(tmp_path: Path) -> None:
    branches = [f"branch-{number}" for number in range(5)]
    with Scene(tmp_path, *GRACE) as scene:
        worker = scene.worker()
        event_id = scene.send("fan")
        for branch in branches:
            scene.stage.reached(branch)
        run_id = scene.api.run_id(event_id)
        scene.stage.open("branch-0")
        scene.stage.open("branch-1")
        for branch in branches[:2]:
            scene.step_waits(run_id, branch, "COMPLETED")

        worker.kill()

        scene.worker()
        for branch in branches[2:]:
            scene.stage.reached(branch, times=2)
            scene.stage.open(branch)
        scene.completed_once(event_id, *branches)
        counts = [len(scene.bodies(branch, run_id)) for branch in branches]
        assert counts == [1, 1, 2, 2, 2], "what was committed does not run again"


def test_twice_while_running_the_same_step(tmp_path: Path) -> None:
    with Scene(tmp_path, *GRACE) as scene:
        worker = scene.worker()
        event_id = scene.send("ship", gate="gate")
        for times in (1, 2):
            scene.stage.reached("gate", times=times)
            worker.kill()
            worker = scene.worker()
        scene.stage.reached("gate", times=3)

        scene.stage.open("gate")

        scene.completed_once(event_id, "pack", "send")
        attempts = [note["attempt"] for note in scene.bodies("pack", scene.api.run_id(event_id))]
        assert attempts == [0, 0, 0], "two losses use up no attempt"


def test_before_the_acknowledgement(tmp_path: Path) -> None:
    with Scene(tmp_path, "--connect-reconnect-grace", "300") as scene:
        raw = scene.raw_worker("hold")
        event_id = scene.send("ship", gate="gate")
        _calls_came(scene, 1)

        raw.kill()

        assert scene.stage.ran("raw ack") == []
        scene.worker()
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")  # long before the grace is over


def test_three_times_before_the_acknowledgement(tmp_path: Path) -> None:
    with Scene(tmp_path, "--retry-interval", "0.3") as scene:
        event_id = ""
        for losses in (1, 2, 3):
            raw = scene.raw_worker("hold")
            event_id = event_id or scene.send("ship", gate="gate")
            _calls_came(scene, losses)
            raw.kill()
        assert len({call["request"] for call in scene.stage.ran("raw call")}) == 3

        scene.worker()

        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")
        (body,) = scene.bodies("pack", scene.api.run_id(event_id))
        assert body["attempt"] == 1, "the call may be what kills its workers"


def test_after_the_acknowledgement(tmp_path: Path) -> None:
    with Scene(tmp_path, *GRACE) as scene:
        raw = scene.raw_worker("ack")
        event_id = scene.send("ship", gate="gate")
        poll(lambda: bool(scene.stage.ran("raw ack")), "the acknowledgement", timeout_s=10)

        raw.kill()

        scene.worker()
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")


@BOTH
def test_after_the_reply_and_before_its_acknowledgement(tmp_path: Path, sdk: Sdk) -> None:
    with Scene(tmp_path, *GRACE) as scene:
        worker = scene.worker(sdk)
        event_id = scene.send("print", gate="gate", bytes=REPLY_BYTES)
        scene.stage.reached("gate")

        with scene.server_stopped():
            scene.stage.open("gate")
            scene.reply_arrives(REPLY_BYTES)
            worker.kill()

        run_id = scene.api.run_id(event_id)
        scene.step_waits(run_id, "pages", "COMPLETED")
        scene.worker(sdk)
        scene.completed_once(event_id, "pages")
        assert len(scene.bodies("pages", run_id)) == 1, "its result had arrived"


@BOTH
def test_draining(tmp_path: Path, sdk: Sdk) -> None:
    with Scene(tmp_path, *GRACE) as scene:
        worker = scene.worker(sdk)
        event_id = scene.send("ship", gate="gate")
        scene.stage.reached("gate")
        worker.signal(signal.SIGTERM)
        worker.ready(scene.api, status="DRAINING")

        worker.kill()

        scene.worker(sdk)
        scene.stage.reached("gate", times=2)
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")


def test_a_worker_that_stood_still_past_its_lease_changes_nothing(tmp_path: Path) -> None:
    with Scene(tmp_path, "--connect-lease", "1.5") as scene:
        slow = scene.worker()
        event_id = scene.send("ship", gate="gate")
        scene.stage.reached("gate")
        run_id = scene.api.run_id(event_id)
        slow.signal(signal.SIGSTOP)

        quick = scene.worker()
        scene.stage.reached("gate", times=2)
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")
        _, (own, second) = scene.api.completed(event_id), scene.bodies("pack", run_id)
        before = scene.api.steps(run_id)
        slow.signal(signal.SIGCONT)

        # Once it has done something else, all that it had to say before was said.
        assert quick.terminate() == 0
        other = scene.send("ship", gate="gate")
        scene.completed_once(other, "pack", "send")
        (after_all,) = scene.bodies("pack", scene.api.run_id(other))
        assert (after_all["pid"], second["pid"]) == (slow.pid, quick.pid)
        assert scene.api.steps(run_id) == before
        assert scene.api.completed(event_id)["pack"] == second["result"] != own["result"]


def test_a_late_reply_is_acknowledged_and_changes_nothing(tmp_path: Path) -> None:
    with Scene(tmp_path, "--connect-lease", "1.5") as scene:
        raw = scene.raw_worker("late")
        event_id = scene.send("ship", gate="gate")
        scene.stage.reached("late")
        raw.signal(signal.SIGSTOP)

        scene.worker()  # gets the call when the lease is over
        scene.stage.reached("gate")
        (run,) = scene.api.runs_of(event_id)
        scene.stage.open("late")
        raw.signal(signal.SIGCONT)

        (acked,) = wait_for(lambda: scene.stage.ran("raw reply ack") or None, "its answer")
        (call,) = scene.stage.ran("raw call")
        assert (acked["request"], call["run"]) == (call["request"], run["run_id"])
        assert scene.api.runs_of(event_id) == [run], "the run goes on with the other worker"
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")


def test_a_step_that_kills_its_process_ends_in_failure(tmp_path: Path) -> None:
    with Scene(tmp_path, "--connect-reconnect-grace", "0.3") as scene:
        worker = scene.worker()
        event_id = scene.send("crash")
        for _ in range(2):
            assert worker.wait() == 70
            worker = scene.start_worker()
        assert worker.wait() == 70

        error = scene.api.failed(event_id)

        assert error["name"] == "connect_worker_stopped_responding"
        scene.worker()
        assert len(scene.bodies("exit", scene.api.run_id(event_id))) == 3
        assert scene.api.workers(status="READY"), "a fourth worker lives"


def _calls_came(scene: Scene, count: int) -> None:
    poll(lambda: len(scene.stage.ran("raw call")) == count, "the request", timeout_s=10)
