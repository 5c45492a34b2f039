"""The kills of the soak: whom they hit, what it was doing, and whether a call was in flight.

A kill "at work" comes while bodies of steps run. A kill "draining" comes after SIGTERM, while the
process finishes what it has; one that has ended before the second signal was not killed and does
not count.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.compat.worker import OFFICIAL
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.chaos.ledger import Ledger
    from tests.compat.lasting_server import LastingServer
    from tests.compat.worker import Sdk, WorkerProcess

SERVER_AT_WORK = "server at work"
SERVER_DRAINING = "server draining"
WORKER_AT_WORK = "worker at work"
WORKER_DRAINING = "worker draining"
OF_SERVER = (SERVER_AT_WORK, SERVER_DRAINING)
OF_WORKERS = (WORKER_AT_WORK, WORKER_DRAINING)

WORK_COMES_S = 3.0
"""How long to wait for a call to be in flight; then the kill comes all the same, and misses."""

SIGNAL_ARRIVES_S = 10.0
DELAY_S = (0.0, 0.05)  # after the moment that was waited for, so that kills do not all hit the same
DRAINS_S = (0.02, 0.1)  # A body takes up to 0.2 s, and a drain as long as the last body.
STOPPING = "stopping: workers have up to"
READY = '"message":"ready"'


class Kills:
    """Kills, and the counts of them.

    Args:
        workers: All of them; some may be stopped by a signal meanwhile.
        stopped: Says whether one is.
    """

    def __init__(
        self,
        server: LastingServer,
        workers: Sequence[WorkerProcess],
        *,
        ledger: Ledger,
        random: Random,
        stopped: Callable[[WorkerProcess], bool],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()
        self.of_official = 0
        self.too_late: Counter[str] = Counter()
        self._server = server
        self._workers = workers
        self._ledger = ledger
        self._random = random
        self._stopped = stopped

    @property
    def of_server(self) -> int:
        return sum(self.counts[kind] for kind in OF_SERVER)

    @property
    def of_workers(self) -> int:
        return sum(self.counts[kind] for kind in OF_WORKERS)

    def missed(self) -> list[str]:
        """Kills that hit nothing prove nothing: what is wrong with them."""
        return [
            f"only {self.in_flight[kind]} of {self.counts[kind]} kills of a {kind} hit a call in "
            "flight"
            for kind in (*OF_SERVER, *OF_WORKERS)
            if not self.counts[kind] or 2 * self.in_flight[kind] < self.counts[kind]
        ]

    def lines(self) -> list[str]:
        """The counts, for people."""
        lines = [
            f"kills of a {kind}: {self.counts[kind]}, {self.in_flight[kind]} with a call in flight"
            + (f"; {self.too_late[kind]} had ended before" if self.too_late[kind] else "")
            for kind in (*OF_SERVER, *OF_WORKERS)
        ]
        return [*lines, f"kills of workers that hit the official one: {self.of_official}"]

    # --- the kills: whoever is killed has to be started again by the caller ---

    def kill_server(self, kind: str) -> None:
        """Kill it while bodies run, or while it drains."""
        self._wait_for_work(lambda: self._ledger.at_work() > 0)
        if kind == SERVER_AT_WORK:
            self._server.kill()
            self._count(kind, self._ledger.at_work())
            return
        os.kill(self._server.pid, signal.SIGTERM)
        poll(self._server_drains, "the server to drain", timeout_s=SIGNAL_ARRIVES_S)
        self._pass_time(*DRAINS_S)
        os.kill(self._server.pid, signal.SIGKILL)
        if self._server.wait() == -signal.SIGKILL:
            self._count(kind, self._ledger.at_work())
        else:
            self.too_late[kind] += 1

    def kill_worker(self, kind: str, sdk: Sdk) -> WorkerProcess:
        """Kill one that has work, or one of those that have, while it drains; which."""
        worker = self.engage(sdk)
        pid = worker.pid
        if kind == WORKER_DRAINING:
            worker.signal(signal.SIGTERM)
            self._pass_time(*DRAINS_S)
        worker.signal(signal.SIGKILL)
        if worker.wait() == -signal.SIGKILL:
            self._count(kind, self._ledger.at_work(pid))
            self.of_official += worker.sdk is OFFICIAL
        else:
            self.too_late[kind] += 1
        self._ledger.forget(pid)
        return worker

    def engage(self, sdk: Sdk) -> WorkerProcess:
        """Wait until a worker with this SDK has a call in flight; which."""
        candidates = [w for w in self._workers if w.sdk is sdk and not self._stopped(w)]
        if not candidates:
            candidates = [w for w in self._workers if not self._stopped(w)]
        if sdk is OFFICIAL and not any(self._ledger.at_work(w.pid) for w in candidates):
            # It waits five seconds before it connects again. Its host has no such patience.
            for worker in candidates:
                self._ledger.forget(worker.pid)
                worker.end()
                worker.start()
        found = self._wait_for_work(
            lambda: any(self._ledger.at_work(worker.pid) for worker in candidates),
        )
        busy = [worker for worker in candidates if self._ledger.at_work(worker.pid)]
        return self._random.choice(busy if found and busy else candidates)

    def _wait_for_work(self, is_there: Callable[[], bool]) -> bool:
        deadline_s = time.monotonic() + WORK_COMES_S
        while not is_there():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.005)
        self._pass_time(*DELAY_S)
        return True

    def _server_drains(self) -> bool:
        log = self._server.log
        return log.rfind(STOPPING) > log.rfind(READY)

    def _count(self, kind: str, at_work: int) -> None:
        self.counts[kind] += 1
        self.in_flight[kind] += at_work > 0

    def _pass_time(self, least_s: float, most_s: float) -> None:
        """Let the load go on; nothing is waited for."""
        time.sleep(self._random.uniform(least_s, most_s))
