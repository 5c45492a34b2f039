"""A sync that hangs for five seconds: everybody waits, and nobody loses a call by it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.chaos.scene import Scene
from tests.faulty_disk.orders import FaultyDisk, Orders
from tests.server_process import poll

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(90)]

STALL_MS = 5_000
LEASE_S = "7"  # A worker extends it after a quarter: five seconds are left at least.
SHORTER_S = 3.0
HAPPENS_S = 20.0


def test_on_the_event_loop_no_lease_is_lost_that_is_longer(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path)
    with Scene(tmp_path, "--connect-lease", LEASE_S, disk=disk) as scene:
        worker = scene.worker()
        connection_id = worker.ready(scene.api)
        held = scene.send("ship", gate="gate")
        scene.stage.reached("gate")

        disk.order(Orders(stall_ms=STALL_MS, stalls_max=1))
        event_id = scene.send("ship", gate="gate")  # acknowledged when the stall is over

        assert disk.report().stalls == 1
        scene.stage.reached("gate", times=2)
        _outlast(scene, event_id, float(LEASE_S) - STALL_MS / 1_000)
        scene.stage.open("gate")
        for each in (held, event_id):
            scene.completed_once(each, "pack", "send")
            assert len(scene.bodies("pack", scene.api.run_id(each))) == 1, "no lease was lost"
        assert worker.ready(scene.api) == connection_id, "it stayed"


def test_in_the_thread_the_loop_goes_on_and_shorter_leases_too(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path)
    more = ("--connect-lease", str(SHORTER_S), "--log-level=debug")
    with Scene(tmp_path, *more, disk=disk) as scene:
        worker = scene.worker()
        connection_id = worker.ready(scene.api)
        disk.order(Orders(stall_ms=20))
        poll(lambda: _leaves_the_loop(scene), "slow commits to leave the loop", timeout_s=HAPPENS_S)
        held = scene.send("ship", gate="gate")
        scene.stage.reached("gate")

        disk.order(Orders(stall_ms=STALL_MS, stalls_max=1))
        sent: list[str] = []
        sender = threading.Thread(target=lambda: sent.append(scene.send("ship", gate="gate")))
        sender.start()
        poll(lambda: disk.report().is_stalling, "the stall", timeout_s=HAPPENS_S)
        asked = 0
        while disk.report().is_stalling:
            assert scene.api.status(held) == "Running"
            assert scene.server.get("/ready")[0] == 200
            asked += 1
        assert asked > 1, "requests are answered during the stall"
        sender.join()
        scene.stage.reached("gate", times=2)
        _outlast(scene, held, SHORTER_S)
        scene.stage.open("gate")
        for each in (held, *sent):
            scene.completed_once(each, "pack", "send")
            assert len(scene.bodies("pack", scene.api.run_id(each))) == 1, "no lease was lost"
        assert len(sent) == 1
        assert worker.ready(scene.api) == connection_id, "it stayed"


def _outlast(scene: Scene, event_id: str, lease_s: float) -> None:
    """Let the calls run on for so long that a lease which is not extended would end."""
    begun_s = time.monotonic()

    def over() -> bool:
        assert scene.api.status(event_id) == "Running"
        return time.monotonic() - begun_s > lease_s

    poll(over, "the lease to be over", timeout_s=HAPPENS_S)


def _leaves_the_loop(scene: Scene) -> bool:
    scene.send("nothing/listens")
    return "they leave the event loop" in scene.server.log
