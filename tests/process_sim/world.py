"""A whole simulated installation, from one seed: server, workers, clients, network, disk and time.

The seed decides on the programs, on who does what when, on which thread has its turn, and on the
faults. After the last fault the world is kind, so every run can end.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

from stepwell.connect import connection as sdk_connection
from stepwell.connect import direct_link
from stepwell.connect.plan import Timing
from stepwell.engine.rows import HistoryKind, PutHistory
from stepwell.server.settings import Settings
from stepwell.wire.ids import RunId, parse_ulid
from tests.process_sim.client import SimClient
from tests.process_sim.clock import VirtualClock
from tests.process_sim.conductor import Conductor
from tests.process_sim.ending import await_runs, check_settled, check_stops, check_stored
from tests.process_sim.faults import Faults
from tests.process_sim.listener import internal_errors
from tests.process_sim.network import Network
from tests.process_sim.programs import bodies, generate
from tests.process_sim.server import Disk, SimServer
from tests.process_sim.system import simulated_system
from tests.process_sim.worker import SimWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepwell.engine.rows import Write
    from tests.process_sim.programs import Program

READY_WITHIN_S = 60.0
CALM = Timing(blocked_after_ms=600_000)
GUARD_S = 5.0
"""Looking after each other ten times a second costs the simulation more than all the rest."""


class World:
    """One simulation.

    Args:
        seed: Decides everything.
        faults: How many there are; None lets the seed choose.
        programs: Run these, rather than generated ones.

    Attributes:
        count: How often what happened.
        bodies: How often the body of a step began, by run and step.
        allowed: How often it may, while no call is lost.
    """

    def __init__(
        self,
        seed: int,
        *,
        faults: int | None = None,
        programs: tuple[Program, ...] | None = None,
        verbose: bool = False,
    ) -> None:
        self.seed = seed
        self.faults_given = faults
        self.count: Counter[str] = Counter()
        self.clock = VirtualClock()
        self.random = random.Random(seed)
        self._digest = hashlib.sha256()
        self._verbose = verbose
        self.network = Network(self.clock, self.random, self.count, self.trace)
        self.conductor = Conductor(self.clock, self.network, self.random, self.trace)
        choose = self.random.choice
        self.settings = Settings(
            in_memory=True,
            no_discovery=True,
            port=8288,
            connect_gateway_port=8289,
            connect_lease_ms=choose((4_000, 20_000, 120_000)),
            connect_heartbeat_ms=choose((10_000, 30_000)),
            connect_reconnect_grace_ms=choose((1_000, 15_000)),
            connect_drain_wait_ms=choose((2_000, 30_000)),
            retry_interval_ms=choose((0, 1_000, 10_000)),
        )
        self.programs = programs or tuple(
            generate(self.random, number, lease_ms=self.settings.connect_lease_ms)
            for number in range(self.random.randint(1, 4))
        )
        self.allowed = {
            name: times for program in self.programs for name, times in bodies(program).items()
        }
        self.bodies: Counter[tuple[str, str]] = Counter()
        self.disk = Disk(self.conductor, self.random, self.count)
        self.disk.on_commit = self._committed
        self.server = SimServer(self.conductor, self.disk, self.settings)
        self.faults = Faults(self, faults)
        self.workers: dict[str, SimWorker] = {}
        self._limits = {
            f"worker-{number}": choose((None, 2, 5)) for number in range(self.random.randint(1, 3))
        }
        self._lives = 0

    def run(self) -> None:
        """Let everything happen, and check all of it.

        Raises:
            AssertionError: An invariant does not hold.
        """
        with (
            internal_errors() as logged,
            simulated_system(self.conductor, self.random),
            patch.object(sdk_connection, "TIMING", CALM),
            patch.object(direct_link, "GUARD_S", GUARD_S),
        ):
            try:
                self._live()
                troubles = self.conductor.troubles + logged
                assert not troubles, f"9: {troubles}"
            finally:
                self.conductor.bury()

    def trace(self, text: str) -> None:
        """Remember what happened: two runs of a seed must say the same."""
        line = f"{self.clock.now_s:.6f} {text}\n"
        self._digest.update(line.encode())
        if self._verbose:
            print(line[:300].rstrip())

    def digest(self) -> str:
        """Of all that happened."""
        return self._digest.hexdigest()

    # --- what faults ask ---

    def later(self, after_s: float, act: Callable[[], None]) -> None:
        """Do something outside of all processes."""
        self.network.later(self.clock.now_s + after_s, act)

    def start_server(self) -> None:
        """Unless it is up."""
        if not self.server.is_up:
            self.server.start()

    def start_worker(self, instance: str) -> None:
        """Unless one of this name is up."""
        if instance in self.workers and self.workers[instance].is_up:
            return
        self._lives += 1
        worker = self.workers[instance] = SimWorker(
            self.conductor,
            instance,
            self._lives,
            self.programs,
            on_body=self._on_body,
            limit=self._limits[instance],
            count=self.count,
        )
        self.trace(f"{worker.name} starts")

    # --- inside ---

    def _live(self) -> None:
        draw = self.random
        self.start_server()
        for instance in self._limits:
            self.later(draw.uniform(0, 2), partial(self.start_worker, instance))
        self.client = SimClient(self.conductor, self.count, self._losses)
        # An event that comes before its function is registered starts nothing.
        ready_s = self.clock.now_s + READY_WITHIN_S
        assert self.conductor.run_until(self._is_registered, until_s=ready_s), "nobody is ready"
        window_s = draw.choice((10.0, 60.0, 1_000.0))
        for _ in range(draw.randint(1, 5)):
            programs = tuple(draw.choices(self.programs, k=draw.randint(1, 4)))
            self.client.send(programs, draw.uniform(0.01, window_s))
        self.faults.plan(window_s)
        await_runs(self)
        self.faults.disarm()
        check_stored(self)
        check_settled(self)
        check_stops(self)

    def _is_registered(self) -> bool:
        return any(worker.is_active for worker in self.workers.values())

    def _on_body(self, run_id: str, step: str, body_ms: int) -> None:
        self.bodies[run_id, step] += 1
        self.faults.body_begins(body_ms)

    def _losses(self, run_id: str) -> int:
        history = self.disk.reader().history(RunId(parse_ulid(run_id)))
        return sum(row.kind is HistoryKind.CALL_LOST for row in history)

    def _committed(self, writes: Sequence[Write]) -> None:
        failed: Counter[RunId] = Counter()  # in one report: a call has only one for each run
        for row in writes:
            if isinstance(row, PutHistory):
                self.trace(f"{row.kind.name} of {row.name or row.step_id}")
                failed[row.run_id] += row.kind is HistoryKind.ATTEMPT_FAILED
        self.count["steps tried apart"] += sum(times > 1 for times in failed.values())
        self.faults.committed()
