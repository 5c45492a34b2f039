"""What befalls an installation: which faults, when they strike, and when they are over."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.process_sim.server import AFTER, BEFORE, FAILED

if TYPE_CHECKING:
    from tests.process_sim.worker import SimWorker
    from tests.process_sim.world import World

FAULTS = (
    "server crash",
    "server machine lost",
    "server drain",
    BEFORE,
    AFTER,
    "worker crash",
    "worker machine lost",
    "worker drain",
    "worker told to stop twice",
    "worker's loop blocked",
    "worker's network silent",
    "connection reset",
    "slow network",
    "slow disk",
    FAILED,
    "clock set forward",
)

GENTLE = ("worker drain", "slow network", "slow disk", "clock set forward")
"""Faults that lose no call: when there are no others, no body runs twice. After a failed commit a
server no longer knows which connection has which call, so a worker that leaves then may lose one.
"""

FAULTS_MAX = 12
SLOW_S = 20.0
SLOW_IS_OVER_S = 25.0
STOPS_WITHIN_S = 90.0
"""A server or worker that is told to stop has ended by then: longer than any drain wait."""

CHECK_S = 1.0
DOWN_S = (0.0, 1.0, 40.0)
AWAY_S = (0.0, 1.0, 60.0)


class Faults:
    """Those of one simulation.

    Args:
        number: How many there are; None lets the seed choose.

    Attributes:
        is_gentle: Whether none of them loses a call.
        last_s: When the last one is over.
    """

    def __init__(self, world: World, number: int | None) -> None:
        self._world = world
        self._random = world.random
        self._count = world.count
        chosen = self._random.randint(0, FAULTS_MAX)
        self._number = chosen if number is None else number
        self.is_gentle = self._number == 0 or self._random.random() < 0.3
        self._kinds = GENTLE if self.is_gentle else FAULTS
        self._armed: list[str] = []
        self.last_s = 0.0
        world.disk.on_death = self._server_died

    def plan(self, window_s: float) -> None:
        """Have them strike within the window, or a little later; half of them in the act."""
        for _ in range(self._number):
            kind = self._random.choice(self._kinds)
            after_s = self._random.uniform(0.5, 1.5 * window_s)
            strike = self._arm if self._random.random() < 0.5 else self._strike
            self._world.later(after_s, partial(strike, kind))
            self._over_after(after_s)

    def disarm(self) -> None:
        """Nothing befalls anybody any more."""
        self._armed.clear()
        self._world.disk.next_fault = None

    def committed(self) -> None:
        """Something was committed: calls and answers are on their way."""
        self._strike_armed("server", "connection", "slow", "failed", "clock", within_s=0.003)

    def body_begins(self, body_ms: int) -> None:
        """A worker is at work for so long."""
        if body_ms:
            self._strike_armed("worker", within_s=min(body_ms / 1000, 10.0))

    def _strike_armed(self, *whom: str, within_s: float) -> None:
        strikes = [kind for kind in self._armed if kind.startswith(whom)]
        self._armed = [kind for kind in self._armed if kind not in strikes]
        for kind in strikes:
            self._world.later(self._random.uniform(0, within_s), partial(self._strike, kind))

    def _arm(self, kind: str) -> None:
        self._armed.append(kind)

    def _strike(self, kind: str) -> None:
        self._world.trace(f"fault: {kind}")
        self._over_after(self._befall(kind))

    def _over_after(self, seconds: float) -> None:
        self.last_s = max(self.last_s, self._world.clock.now_s + seconds)

    def _befall(self, kind: str) -> float:
        """Let it happen and count it, if there is anybody to befall.

        Returns:
            After how long it is over.
        """
        world = self._world
        if kind in (BEFORE, AFTER, FAILED):
            world.disk.next_fault = kind  # which counts it
            return 0.0
        if kind.startswith("server"):
            return self._befall_server(kind)
        if kind.startswith("worker"):
            worker = self._victim()
            return 0.0 if worker is None else self._befall_worker(kind, worker)
        if kind == "connection reset":
            lines = world.network.open_lines()
            if not lines:
                return 0.0
            self._random.choice(lines).reset()
        self._count[kind] += 1
        if kind == "slow network":
            world.network.slow_until_s = world.clock.now_s + SLOW_S
            return SLOW_IS_OVER_S
        if kind == "slow disk":
            world.disk.slow_until_s = world.clock.now_s + SLOW_S
            return SLOW_IS_OVER_S
        if kind == "clock set forward":
            jump_ms = self._random.choice((1_500, 90_000, 7_200_000, 40 * 86_400_000))
            world.clock.jumped_ms += jump_ms
        return 0.0

    # --- the server ---

    def _befall_server(self, kind: str) -> float:
        server, count = self._world.server, self._count
        if not server.is_up or server.is_stopping:
            return 0.0
        count[kind] += 1
        if server.calls_out:
            count[f"{kind} with calls out"] += 1
        if kind == "server drain":
            server.stop()
            self._restart_server()
            return STOPS_WITHIN_S
        server.crash(silently=kind == "server machine lost")
        return self._start_server_later()

    def _server_died(self) -> None:
        self._over_after(self._start_server_later())

    def _start_server_later(self) -> float:
        down_s = self._random.choice(DOWN_S)
        self._world.later(down_s, self._world.start_server)
        return down_s

    def _restart_server(self) -> None:
        """Start another one when this one has ended."""
        if self._world.server.is_up:
            self._world.later(CHECK_S, self._restart_server)
        else:
            self._world.start_server()

    # --- workers ---

    def _victim(self) -> SimWorker | None:
        """One that is up; one that is at work, if there is any."""
        up = [one for one in self._world.workers.values() if one.is_up and not one.is_draining]
        busy = [one for one in up if one.running_count]
        return self._random.choice(busy or up) if up else None

    def _befall_worker(self, kind: str, worker: SimWorker) -> float:
        world, random = self._world, self._random
        self._count[kind] += 1
        if worker.running_count:
            self._count[f"{kind} with calls in flight"] += 1
        match kind:
            case "worker crash" | "worker machine lost":
                worker.crash(silently=kind == "worker machine lost")
                away_s = random.choice(AWAY_S)
                world.later(away_s, partial(world.start_worker, worker.instance))
                return away_s
            case "worker drain" | "worker told to stop twice":
                worker.drain()
                if kind != "worker drain":
                    world.later(0.5, worker.drain)
                self._replace(worker)
                return STOPS_WITHIN_S
            case "worker's loop blocked":
                seconds = random.choice((0.5, 8.0, 70.0))
                worker.block(seconds)
                return seconds
            case "worker's network silent":
                seconds = random.choice((3.0, 40.0, 300.0))
                world.network.cut_off(worker.name, seconds, then_reset=random.random() < 0.5)
                return seconds
            case _:
                raise AssertionError(f"no such fault: {kind}")

    def _replace(self, worker: SimWorker) -> None:
        """Start another one of the same name when this one has ended."""
        if worker.is_up:
            self._world.later(CHECK_S, partial(self._replace, worker))
        else:
            self._world.start_worker(worker.instance)
