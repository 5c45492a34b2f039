"""Kill, stop and restart server and workers at random under load: `python -m tests.chaos.soak`.

Prints the seed first and the counts last. The exit status is 1 if anything was lost, happened
twice or did not end, or if fewer than half of the kills hit work in flight. The seed decides on
the load and on the faults; when exactly a fault strikes is up to the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.ledger import Ledger, judge
from tests.chaos.load import Load
from tests.compat.api import Api
from tests.compat.lasting_server import LastingServer
from tests.compat.worker import OFFICIAL, OURS, Stage, WorkerProcess
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.worker import Sdk

APP_ID = "soak"
APP = Path(__file__).with_name("apps") / "load.py"
WORKERS = (OURS, OURS, OURS, OFFICIAL)
RUNS_ALIVE = 60
SETTLES_S = 120.0
SERVER_OPTIONS = (
    "--retry-interval", "0.5",
    "--connect-lease", "4",
    "--connect-reconnect-grace", "2",
    "--connect-drain-wait", "1",
)  # fmt: skip

KILLS = ("kill server", "kill worker")
FAULTS = (*KILLS, *KILLS, *KILLS, "restart server", "restart worker", "stop server", "stop worker")


class Soak:
    """One soak: a server, workers, a load and the faults.

    Args:
        directory: For the data, the notes and the logs.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.faults: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()
        self.gave_up = 0
        self._random = random.Random(seed)
        self._stage = Stage(directory / "stage")
        self._server = LastingServer(*SERVER_OPTIONS, data_dir=directory / "data")
        self._api = Api(lambda: self._server.api_url)
        self._workers: list[WorkerProcess] = []
        self._later: list[tuple[float, Callable[[], None]]] = []
        self.ledger = Ledger(self._stage.directory / "ran")
        self.load = Load(
            self._api,
            seed=seed,
            app_id=APP_ID,
            alive=RUNS_ALIVE,
            unfinished=self.ledger.unfinished,
        )

    @property
    def data_dir(self) -> Path:
        """Of the server."""
        return self._server.data_dir

    def run(self, minutes: float) -> list[str]:
        """Do it, and print the counts; what went wrong."""
        with contextlib.ExitStack() as running:
            running.enter_context(self._server)
            self._workers = [running.enter_context(self._worker(sdk)) for sdk in WORKERS]
            for worker in self._workers:
                worker.ready(self._api)
            self.load.start()
            self._hurt(time.monotonic() + 60 * minutes)
            for _, act in self._later:
                act()
            self.load.stop()
            trouble = self._settle()
            self._server.kill()
        verdict = judge(self.data_dir, self.load.sent.values(), self.ledger)
        self._report(verdict.runs, verdict.steps)
        return trouble + verdict.faults

    def missed(self) -> list[str]:
        """Kills that hit nothing prove nothing: what is wrong with them."""
        kills = sum(self.faults[fault] for fault in KILLS)
        hits = sum(self.in_flight[fault] for fault in KILLS)
        if kills == 0 or 2 * hits < kills:
            return [f"only {hits} of {kills} kills hit work in flight"]
        return []

    def _worker(self, sdk: Sdk) -> WorkerProcess:
        return WorkerProcess(
            APP.read_text(), sdk=sdk, url=self._server.api_url, app_id=APP_ID, stage=self._stage
        )

    # --- faults ---

    def _hurt(self, until_s: float) -> None:
        while (now_s := time.monotonic()) < until_s:
            due = [pair for pair in self._later if pair[0] <= now_s]
            for pair in due:
                self._later.remove(pair)
                pair[1]()
            self._revive()
            self._fault(self._random.choice(FAULTS))
            self._pass_time(self._random.uniform(0.5, 2))

    def _fault(self, fault: str) -> None:
        worker = self._random.choice(self._workers)
        match fault:
            case "kill server":
                self._server.kill()
                self._count(fault, self.ledger.at_work())
                self._pass_time(self._random.uniform(0, 1))
                self._server.start()
            case "kill worker":
                pid = worker.pid
                worker.kill()
                self._count(fault, self.ledger.at_work(pid))
                self.ledger.forget(pid)
                worker.start()
            case "restart server":
                self._count(fault, self.ledger.at_work())
                self._server.terminate()
                self._server.start()
            case "restart worker":
                pid = worker.pid
                self._count(fault, self.ledger.at_work(pid))
                worker.signal(signal.SIGCONT)
                worker.terminate()
                self.ledger.forget(pid)
                worker.start()
            case "stop server":
                self._count(fault, self.ledger.at_work())
                os.kill(self._server.pid, signal.SIGSTOP)
                self._pass_time(self._random.uniform(0.1, 2))
                os.kill(self._server.pid, signal.SIGCONT)
            case "stop worker":
                pid = worker.pid
                self._count(fault, self.ledger.at_work(pid))
                worker.signal(signal.SIGSTOP)
                goes_on_s = time.monotonic() + self._random.uniform(0.5, 6)  # the lease is 4 s
                self._later.append((goes_on_s, lambda: self._go_on(worker, pid)))

    def _count(self, fault: str, at_work: int) -> None:
        self.faults[fault] += 1
        self.in_flight[fault] += at_work > 0

    @staticmethod
    def _go_on(worker: WorkerProcess, pid: int) -> None:
        if worker.is_running and worker.pid == pid:
            worker.signal(signal.SIGCONT)

    def _revive(self) -> None:
        """The official worker gives up after five refusals in a row; its host restarts it."""
        for worker in self._workers:
            if not worker.is_running:
                assert worker.sdk is OFFICIAL, f"our worker has ended:\n{worker.log[-4_000:]}"
                self.gave_up += 1
                self.ledger.forget(worker.pid)
                worker.start()

    @staticmethod
    def _pass_time(seconds: float) -> None:
        """Let the load go on; nothing is waited for."""
        time.sleep(seconds)

    # --- the end ---

    def _settle(self) -> list[str]:
        """Wait until nothing is left to do."""

        def over() -> bool:
            self._revive()
            return not any(
                self._api.get(f"/v2/runs?status={status}&limit=1").get("data")
                for status in ("QUEUED", "RUNNING")
            )

        try:
            poll(over, "all runs to end", timeout_s=SETTLES_S)
        except AssertionError as error:
            return [str(error)]
        return []

    def _report(self, runs: int, steps: int) -> None:
        for fault in sorted(set(FAULTS)):
            print(f"{fault}: {self.faults[fault]}, {self.in_flight[fault]} with work in flight")
        load = self.load
        print(
            f"events: {load.acknowledged} acknowledged, {load.repeated} sent twice on purpose, "
            f"{load.unanswered} requests without an answer"
        )
        print(f"runs: {runs}; steps: {steps} committed, {self.ledger.bodies} bodies begun")
        print(f"the official worker gave up {self.gave_up} times")


def main(arguments: list[str] | None = None) -> int:
    """Run the soak; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"python -m tests.chaos.soak --minutes {given.minutes:g} --seed {seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="stepwell-soak-"))
    soak = Soak(directory, seed)
    trouble = soak.run(given.minutes) + soak.missed()
    for line in trouble[:50]:
        print(f"FAULT {line}")
    if trouble:
        print(f"{len(trouble)} faults; data, notes and logs are in {directory}")
        return 1
    shutil.rmtree(directory)
    print("nothing was lost, nothing happened twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
