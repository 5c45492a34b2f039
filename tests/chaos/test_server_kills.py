"""The server is killed at each point of a run's way, and comes back with the same data.

Each test proves its point by the rows that the dead server left. Twelve kills, three of them with
the official worker.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.chaos.rows import Phase, RunStatus
from tests.chaos.scene import Scene
from tests.compat.worker import OFFICIAL, OURS
from tests.server_process import poll

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.worker import Sdk

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(60)]

BOTH = pytest.mark.parametrize(
    "sdk", [OURS, pytest.param(OFFICIAL, marks=pytest.mark.compat)], ids=lambda sdk: sdk.name
)
RETRY_S = 3
REPLY_BYTES = 20_000  # more than all else that a worker sends meanwhile, less than a buffer


def test_event_acknowledged_and_no_worker(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        assert scene.worker().terminate() == 0  # it has told the server of the function
        scene.stage.open("gate")

        event_id = scene.send("ship", gate="gate")
        rows = scene.kill_server()

        ((run_id, run),) = rows.runs.items()
        assert (run.status, run.job.phase) == (RunStatus.SCHEDULED, Phase.QUEUED)
        scene.server.start()
        assert scene.api.run_id(event_id) == run_id
        scene.worker()
        scene.completed_once(event_id, "pack", "send")
        assert len(scene.bodies("pack", run_id)) == len(scene.bodies("send", run_id)) == 1


def test_job_queued_behind_a_busy_worker(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        worker = scene.worker(INNGEST_CONNECT_MAX_WORKER_CONCURRENCY="1")
        first = scene.send("ship", gate="gate")
        scene.stage.reached("gate")
        second = scene.send("ship", gate="gate")
        ids = [scene.api.run_id(event_id) for event_id in (first, second)]

        rows = scene.kill_server()

        busy, waiting = (rows.runs[run_id] for run_id in ids)
        assert (busy.status, busy.job.phase) == (RunStatus.RUNNING, Phase.LEASED)
        assert (waiting.status, waiting.job.phase) == (RunStatus.SCHEDULED, Phase.QUEUED)
        scene.server.start()
        worker.ready(scene.api)
        scene.stage.open("gate")
        for event_id, run_id in zip((first, second), ids, strict=True):
            scene.completed_once(event_id, "pack", "send")
            assert len(scene.bodies("pack", run_id)) == 1, "the worker kept its work"


def test_request_sent_and_not_acknowledged(tmp_path: Path) -> None:
    with Scene(tmp_path, "--connect-reconnect-grace", "1") as scene:
        raw = scene.raw_worker("hold")
        event_id = scene.send("ship", gate="gate")
        poll(lambda: bool(scene.stage.ran("raw call")), "the request", timeout_s=10)

        rows = scene.kill_server()

        (call,) = scene.stage.ran("raw call")
        run = rows.runs[call["run"]]
        assert (run.job.phase, run.request_ids) == (Phase.LEASED, [call["request"]])
        assert scene.stage.ran("raw ack") == []
        raw.kill()
        scene.server.start()
        scene.worker()
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")
        assert [note["attempt"] for note in scene.bodies("pack", call["run"])] == [0]


@BOTH
def test_step_body_running(tmp_path: Path, sdk: Sdk) -> None:
    with Scene(tmp_path) as scene:
        worker = scene.worker(sdk)
        event_id = scene.send("ship", gate="gate")
        scene.stage.reached("gate")
        run_id = scene.api.run_id(event_id)

        rows = scene.kill_server()

        run = rows.runs[run_id]
        assert (run.job.phase, run.steps) == (Phase.LEASED, [])
        scene.server.start()
        worker.ready(scene.api)
        assert scene.api.status(event_id) == "Running"
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")
        assert len(scene.bodies("pack", run_id)) == 1, "the worker kept its work"


@BOTH
def test_reply_sent_and_not_acknowledged(tmp_path: Path, sdk: Sdk) -> None:
    with Scene(tmp_path) as scene:
        worker = scene.worker(sdk)
        event_id = scene.send("print", gate="gate", bytes=REPLY_BYTES)
        scene.stage.reached("gate")
        run_id = scene.api.run_id(event_id)

        with scene.server_stopped():
            scene.stage.open("gate")
            scene.reply_arrives(REPLY_BYTES)
            rows = scene.kill_server()

        run = rows.runs[run_id]
        assert (run.job.phase, run.steps) == (Phase.LEASED, [])
        scene.server.start()
        worker.ready(scene.api)
        scene.completed_once(event_id, "pages")
        # Nobody knows the result but the worker, which sends it again: ours on the new socket,
        # the official one over HTTP five seconds after the reply, once.
        assert len(scene.bodies("pages", run_id)) == 1


def test_reply_sent_by_a_worker_that_is_killed_too(tmp_path: Path) -> None:
    with Scene(tmp_path, "--connect-reconnect-grace", "1") as scene:
        raw = scene.raw_worker("late")
        event_id = scene.send("ship", gate="gate")
        scene.stage.reached("late")

        with scene.server_stopped():
            scene.stage.open("late")
            poll(lambda: bool(scene.stage.ran("raw reply")), "the reply", timeout_s=10)
            rows = scene.kill_server()
        raw.kill()

        (call,) = scene.stage.ran("raw call")
        run = rows.runs[call["run"]]
        assert (run.status, run.request_ids) == (RunStatus.RUNNING, [call["request"]])
        assert scene.stage.ran("raw reply ack") == []
        scene.server.start()
        scene.worker()
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")  # and not with the lost reply
        assert [note["attempt"] for note in scene.bodies("pack", call["run"])] == [0]


@pytest.mark.parametrize("when", ["due-after-the-restart", "due-while-it-was-down"])
def test_sleeping(tmp_path: Path, when: str) -> None:
    seconds = 4 if when == "due-after-the-restart" else 1
    with Scene(tmp_path) as scene:
        worker = scene.worker()
        event_id = scene.send("nap", seconds=seconds)
        run_id = scene.api.run_id(event_id)
        scene.step_waits(run_id, "nap", "WAITING")

        rows = scene.kill_server()

        killed_ms = time.time() * 1000
        run = rows.runs[run_id]
        ((sleep,), jobs) = run.sleeps, run.jobs
        assert (jobs, run.steps) == ([], ["before"])
        assert sleep.due_ms > killed_ms, "it slept when the server was killed"
        if when == "due-while-it-was-down":
            poll(lambda: time.time() * 1000 > sleep.due_ms, "the sleep to be over", timeout_s=5)
        scene.server.start()
        worker.ready(scene.api)
        if when == "due-after-the-restart":
            assert time.time() * 1000 < sleep.due_ms, "it still slept when the server was back"
        scene.completed_once(event_id, "before", "after")
        (before,) = scene.bodies("before", run_id)
        (after,) = scene.bodies("after", run_id)
        assert after["at"] - before["at"] >= seconds


@BOTH
def test_between_attempts(tmp_path: Path, sdk: Sdk) -> None:
    with Scene(tmp_path, "--retry-interval", str(RETRY_S)) as scene:
        worker = scene.worker(sdk)
        event_id = scene.send("charge")
        run_id = scene.api.run_id(event_id)
        poll(lambda: bool(scene.bodies("bill", run_id)), "the first attempt", timeout_s=10)
        poll(lambda: bool(scene.api.steps(run_id)), "its failure", timeout_s=RETRY_S)

        rows = scene.kill_server()

        killed_ms = time.time() * 1000
        job = rows.runs[run_id].job
        assert (job.phase, job.attempt) == (Phase.WAITING, 1)
        assert job.due_ms > killed_ms, "it waited when the server was killed"
        scene.server.start()
        worker.ready(scene.api)
        scene.completed_once(event_id, "bill")
        first, second = scene.bodies("bill", run_id)
        assert (first["attempt"], second["attempt"]) == (0, 1)
        assert second["at"] * 1000 >= job.due_ms
