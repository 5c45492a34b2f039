"""The troubles that a worker's transport has to live through, each done to every SDK at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tests.chaos.kills import STOPPING
from tests.chaos.transport.verdict import OURS
from tests.chaos.transport.worker import LANGUAGES, LOOPS
from tests.chaos.transport.world import Lengths, World, over_time
from tests.server_process import poll

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.transport.verdict import Verdict

SHORT = Lengths(lease_s=2, grace_s=4, heartbeat_s=1, drain_s=1, ends_s=60)
"""Settings under which a cut of a few seconds is beyond the lease.

With such a lease a call is lost before its worker counts as silent, which takes 20 s whatever the
heartbeat: in a silent cut it may be lost three times in a row, and that is an attempt.
"""

LONG = Lengths(lease_s=120, grace_s=15, heartbeat_s=10, drain_s=25, ends_s=180)
"""The settings that users get."""

MOVES_S = 20.0
STOPPED = '"message":"stopped"'


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One of them.

    Attributes:
        hurt: Does it, opens the gate on the way, and returns when it is over.
        keeps_work: No worker of ours loses a call that it has acknowledged.
        blocks: The long step does not let the worker's loop go.
        only: Those whom it can happen to.
    """

    name: str
    hurt: Callable[[World], None]
    lengths: Lengths
    keeps_work: bool = False
    blocks: bool = False
    only: tuple[str, ...] = ()

    def run(self, directory: Path, languages: tuple[str, ...] = ()) -> list[Verdict]:
        """A world of its own, the trouble, and what came of it.

        Args:
            languages: Leave the others out.
        """
        chosen = [
            language
            for language in LANGUAGES
            if (not self.only or language.name in self.only)
            and (not languages or language.name in languages)
        ]
        with World(directory, self.lengths, blocks=self.blocks, languages=chosen) as world:
            self.hurt(world)
            ended_s = time.monotonic()
            world.settle()
            verdicts = world.judge(self.name, time.monotonic() - ended_s)
            logs = world.logs
        for verdict in verdicts:
            if verdict.sdk == OURS:
                self._judge_ours(verdict)
            if verdict.faults:
                (directory / "logs").write_text(logs)
        return verdicts

    def _judge_ours(self, verdict: Verdict) -> None:
        """What is asked of our SDK beyond the others."""
        if verdict.by_sdk or verdict.restarts:
            verdict.faults.append("our worker gave up, or reported a call as failed")
        if self.keeps_work and verdict.losses:
            verdict.faults.append(f"our worker lost {verdict.losses} calls")


# --- the server ---


def drain(world: World) -> None:
    """It leaves in good order; the results come while it does."""
    os.kill(world.server.pid, signal.SIGTERM)
    poll(lambda: STOPPING in world.server.log, "it to drain", timeout_s=MOVES_S)
    world.open_gate()
    _wait_until_stopped(world)
    world.server.start()


def restart(world: World) -> None:
    """It leaves in good order; the results are there while nobody takes them."""
    os.kill(world.server.pid, signal.SIGTERM)
    _wait_until_stopped(world)
    world.open_gate()
    world.bodies_end()
    world.server.start()


def _wait_until_stopped(world: World) -> None:
    patience_s = world.lengths.drain_s + MOVES_S
    poll(lambda: STOPPED in world.server.log, "it to stop", timeout_s=patience_s)
    assert world.server.wait() == 0, world.server.log


def kill(world: World) -> None:
    """It is killed; the results are there while nobody takes them."""
    world.server.kill()
    world.open_gate()
    world.bodies_end()
    world.server.start()


# --- the network ---


def cut(seconds: float, *, silent: bool) -> Callable[[World], None]:
    """The network is gone for so long; the results are there meanwhile."""

    def hurt(world: World) -> None:
        if silent:
            world.stall()
        else:
            world.reset()
        world.open_gate()
        world.bodies_end()
        over_time(seconds, world.revive)
        world.heal()

    return hurt


# --- workers ---


def leave(world: World) -> None:
    """Each worker is asked to end with long steps in flight, and is started again."""
    leaving = list(world.workers)
    for worker in leaving:
        worker.ask_to_end()
    _wait_until_left(world, {worker.instance_id for worker in leaving})
    world.open_gate()
    for worker in leaving:
        if not worker.wait():
            world.restarts[worker.language.name] += 1
        worker.start()
    world.ready(leaving)


def block(seconds: float) -> Callable[[World], None]:
    """A step does not let its program's loop go for so long."""

    def hurt(world: World) -> None:
        over_time(seconds)
        world.open_gate()
        world.bodies_end()

    return hurt


def deploy(world: World) -> None:
    """A new version comes, the old one is asked to end, with long steps in flight."""
    old = list(world.workers)
    new = [world.new_worker(worker.language, "v2") for worker in old]
    for worker in new:
        worker.start()
    world.ready(new)
    for worker in old:
        worker.ask_to_end()
    _wait_until_left(world, {worker.instance_id for worker in old})
    world.open_gate()
    for worker in old:
        if not worker.wait():
            world.restarts[worker.language.name] += 1


def _wait_until_left(world: World, instances: set[str]) -> None:
    """Wait until the server gives none of these any new call."""
    poll(
        lambda: (
            not any(
                worker["instanceId"] in instances for worker in world.api.workers(status="READY")
            )
        ),
        "the workers to leave",
        timeout_s=MOVES_S,
    )


def troubles(lengths: Lengths) -> list[Trouble]:
    """All of them, under these settings."""
    beyond_s = max(lengths.lease_s, lengths.grace_s) + 2 * lengths.heartbeat_s
    blocked_s = (2.5 * lengths.heartbeat_s, beyond_s)
    found = [
        Trouble(name="drain", hurt=drain, lengths=lengths, keeps_work=True),
        Trouble(name="restart", hurt=restart, lengths=lengths, keeps_work=True),
        Trouble(name="kill -9", hurt=kill, lengths=lengths, keeps_work=True),
        Trouble(name="leave", hurt=leave, lengths=lengths, keeps_work=True),
        *(
            Trouble(
                name=f"block {seconds:g} s",
                hurt=block(seconds),
                lengths=lengths,
                keeps_work=True,
                blocks=True,
                only=LOOPS,
            )
            for seconds in blocked_s
        ),
        Trouble(name="deploy", hurt=deploy, lengths=lengths, keeps_work=True),
    ]
    for seconds in sorted({1.0, min(30.0, beyond_s), beyond_s}):
        for silent in (True, False):
            how = "silent" if silent else "reset"
            kept_s = lengths.lease_s if silent else lengths.grace_s
            found.append(
                Trouble(
                    name=f"cut {seconds:g} s, {how}",
                    hurt=cut(seconds, silent=silent),
                    lengths=lengths,
                    keeps_work=2 * seconds <= kept_s,
                )
            )
    return found
