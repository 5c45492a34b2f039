"""The disk refuses to write: nothing acknowledged is lost, and the work goes on when it is back.

The disk is full in earnest (a small one is mounted), or a faulty one refuses as it is told to. It
comes back under a server that went on, or under one that was killed meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.chaos.scene import APP_ID, Scene
from tests.chaos.small_disk import small_disk
from tests.faulty_disk.orders import FaultyDisk, Orders, Refusal
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.compat.worker import WorkerProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(90)]

COMES_BACK = pytest.mark.parametrize("comes_back", ["by-itself", "after-a-kill"])
LARGE = "x" * 200_000  # The log has room that was taken before: small events fit for long.
REFUSED_S = 20.0
SHORT_GRACE = ("--connect-reconnect-grace", "4")
"""For a kill: a call that was given out in the last commit, and had not left, waits so long."""


@COMES_BACK
def test_full(tmp_path: Path, comes_back: str) -> None:
    kill = comes_back == "after-a-kill"
    with (
        small_disk(tmp_path / "disk") as disk,
        Scene(tmp_path, *(SHORT_GRACE if kill else ()), data_dir=disk.directory / "data") as scene,
    ):
        _endure(scene, disk.fill, disk.free, kill=kill)


@COMES_BACK
@pytest.mark.parametrize("refuses", ["full", "fsync", "readonly"])
def test_writes_or_syncs_refused(tmp_path: Path, refuses: Refusal, comes_back: str) -> None:
    disk = FaultyDisk(tmp_path)
    kill = comes_back == "after-a-kill"
    with Scene(tmp_path, *(SHORT_GRACE if kill else ()), disk=disk) as scene:

        def mend() -> None:
            if not kill:  # One that is started is mended.
                disk.mend()

        _endure(scene, lambda: disk.order(Orders(refuses=refuses)), mend, kill=kill)


def test_read_only_at_the_start(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        Scene(tmp_path, data_dir=disk.directory / "data") as scene,
    ):
        worker = scene.worker()
        event_id = scene.send("ship", gate="gate")
        scene.stage.reached("gate")
        scene.server.kill()
        disk.remount("ro")

        with pytest.raises(AssertionError, match=r"Read-only file system; make it writable"):
            scene.server.start()

        disk.remount("rw")
        scene.server.start()
        scene.stage.open("gate")
        scene.completed_once(event_id, "pack", "send")
        _ran_once(scene, event_id, worker)


def _endure(
    scene: Scene, breaks: Callable[[], Any], mends: Callable[[], Any], *, kill: bool
) -> None:
    """Break the disk under a call that runs, and mend it."""
    worker = scene.worker()
    connection_id = worker.ready(scene.api)
    held = scene.send("ship", gate="gate")
    scene.stage.reached("gate")

    breaks()

    acknowledged, refusal = _send_until_refused(scene)
    assert (refusal["code"], refusal["ids"]) == ("store_unavailable", [])
    scene.stage.open("gate")
    poll(lambda: "a reply is not stored" in scene.server.log, "the reply", timeout_s=REFUSED_S)
    assert scene.api.status(held) == "Running", "what is stored can be read"
    assert scene.server.get("/health")[0] == 200
    assert worker.ready(scene.api) == connection_id, "the worker stays"

    if kill:
        scene.server.kill()
    mends()
    if kill:
        scene.server.start()
    for event_id in (held, *acknowledged):
        scene.completed_once(event_id, "pack", "send")
    _ran_once(scene, held, worker)


def _send_until_refused(scene: Scene) -> tuple[list[str], Any]:
    """The events that were acknowledged all the same, and the answer to the one that was not."""
    acknowledged: list[str] = []
    answers: list[Any] = []
    event = {"name": f"{APP_ID}/ship", "data": {"gate": "gate", "filler": LARGE}}

    def refused() -> bool:
        answer = scene.api.request("POST", "/e/test", msgspec.json.encode(event))
        if answer.status == 200:
            acknowledged.extend(answer.json()["ids"])
            return False
        assert answer.status == 503
        answers.append(answer.json())
        return True

    poll(refused, "an event to be refused", timeout_s=REFUSED_S)
    return acknowledged, answers[0]


def _ran_once(scene: Scene, event_id: str, worker: WorkerProcess) -> None:
    """The worker kept its call and its result."""
    notes = scene.bodies("pack", scene.api.run_id(event_id))
    assert [note["pid"] for note in notes] == [worker.pid]
