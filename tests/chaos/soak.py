"""Kill, stop and restart server and workers at random under load: `python -m tests.chaos.soak`.

Each round kills the server and a worker, one after the other or together; half of the kills come
while calls run, half while their victim drains. In between, server and workers are restarted in
good order, and stopped for a while.

Prints the seed first and the counts last. The exit status is 1 if anything was lost, happened
twice, or did not end within a minute of the last restart, or if fewer than half of any kind of
kills hit a call in flight. The seed decides on the load and on the faults; when exactly a fault
strikes is up to the machine. Counts of several soaks may be added up.
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

import msgspec

from tests.chaos.kills import OF_SERVER, OF_WORKERS, Kills
from tests.chaos.ledger import Ledger, judge
from tests.chaos.load import Load
from tests.compat.api import Api
from tests.compat.lasting_server import LastingServer
from tests.compat.worker import OFFICIAL, OURS, SUBSTITUTIONS, Sdk, Stage, WorkerProcess
from tests.server_process import poll

APP_ID = "soak"
APPS = Path(__file__).with_name("apps")
EAGER = Sdk(
    OURS.name,
    OURS.python,
    SUBSTITUTIONS
    | {
        "import stage": "import stage\nimport stepwell.connect.backoff\n"
        "stepwell.connect.backoff.STABLE_MS = 500"
    },
)
"""Ours, but a connection that was ready for a moment counts as a good one: it waits for a server
that is killed every second no longer than for one that is killed once."""

GOES_ON = Sdk(f"{OURS.name}-eager", OURS.python, {})
"""Ours, with the functions whose calls go on after a step: an app of its own."""

WORKERS = (EAGER, EAGER, OFFICIAL, GOES_ON, GOES_ON)
RUNS_ALIVE = 80
ENDS_S = 60.0
"""How long after the last restart all runs must have ended."""

PROGRESS_S = 10.0
SERVER_OPTIONS = (
    "--retry-interval", "0.5",
    "--connect-lease", "4",
    "--connect-reconnect-grace", "2",
    "--connect-drain-wait", "1",
)  # fmt: skip

OTHERS = ("restart server", "restart worker", "stop server", "stop worker")
OTHERS_SHARE = 0.15  # of the rounds have one of them too


class Goal(msgspec.Struct, frozen=True):
    """When it is enough: after some minutes, or some kills of the server and as many of workers."""

    minutes: float | None = None
    kills: int | None = None

    def __str__(self) -> str:
        if self.kills is not None:
            return f"--kills {self.kills}"
        return f"--minutes {self.minutes:g}"


class Soak:
    """One soak: a server, workers, a load and the faults.

    Args:
        directory: For the data, the notes and the logs.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.others: Counter[str] = Counter()
        self._directory = directory
        self._gave_up = 0
        self._random = random.Random(seed)
        self._stage = Stage(directory / "stage")
        self._server = LastingServer(*SERVER_OPTIONS, data_dir=directory / "data")
        self._api = Api(lambda: self._server.api_url)
        self._workers: list[WorkerProcess] = []
        self._later: list[tuple[float, WorkerProcess, int]] = []  # stopped until then
        self.stopped: set[int] = set()
        """Processes that stood still for a while."""
        self.ledger = Ledger(self._stage.directory / "ran")
        self.kills = Kills(
            self._server,
            self._workers,
            ledger=self.ledger,
            random=self._random,
            stopped=lambda worker: any(worker is other for _, other, _ in self._later),
        )
        self.load = Load(
            self._api,
            seed=seed,
            app_id=APP_ID,
            alive=RUNS_ALIVE,
            unfinished=self.ledger.unfinished,
        )
        self._begun_s = self._shown_s = self._restarted_s = time.monotonic()
        self._ended_s = 0.0

    @property
    def data_dir(self) -> Path:
        """Of the server."""
        return self._server.data_dir

    def run(self, goal: Goal) -> list[str]:
        """Do it, and print the counts; what went wrong."""
        try:
            with contextlib.ExitStack() as running:
                running.enter_context(self._server)
                self._workers += [running.enter_context(self._worker(sdk)) for sdk in WORKERS]
                for worker in self._workers:
                    worker.ready(self._api)
                self.load.start()
                self._begun_s = time.monotonic()
                self._hurt(goal)
                took_s = time.monotonic() - self._begun_s
                self._go_on(time.monotonic() + 1e9)
                self.load.stop()
                trouble = self._settle()
                self._server.kill()
        finally:
            (self._directory / "server.log").write_text(self._server.log)
        verdict = judge(self.data_dir, self.load.sent.values(), self.ledger, stopped=self.stopped)
        for line in self.kills.lines():
            print(line)
        killed = self.kills.of_server + self.kills.of_workers
        print(
            f"{took_s:.0f} s, {took_s / max(1, killed):.2f} s a kill; other faults: "
            + ", ".join(
                f"{fault} {self.others[fault]}" for fault in dict.fromkeys((*OTHERS, *self.others))
            )
            + f"; the official worker gave up {self._gave_up} times"
        )
        print(
            f"events: {self.load.acknowledged} acknowledged, {self.load.repeated} sent twice on "
            f"purpose, {self.load.unanswered} requests without an answer"
        )
        print(
            f"runs: {verdict.runs}; steps: {verdict.steps} committed, {self.ledger.bodies} bodies "
            f"begun, {self.ledger.stored} seen stored by calls that went on; "
            f"all ended {self._ended_s:.1f} s after the last restart"
        )
        print(f"lost {verdict.lost}, stranded {verdict.stranded}, second commits {verdict.twice}")
        return trouble + verdict.faults

    def _worker(self, sdk: Sdk) -> WorkerProcess:
        goes_on = sdk is GOES_ON
        return WorkerProcess(
            (APPS / ("eager.py" if goes_on else "load.py")).read_text(),
            sdk=sdk,
            url=self._server.api_url,
            app_id=f"{APP_ID}-eager" if goes_on else APP_ID,
            stage=self._stage,
        )

    # --- faults ---

    def _hurt(self, goal: Goal) -> None:
        number = 0
        while not self._enough(goal):
            self._show_progress()
            self._go_on(time.monotonic())
            self._revive()
            if self._random.random() < OTHERS_SHARE:
                self._other(self._random.choice(OTHERS))
            self._kill(OF_SERVER[number % 2], OF_WORKERS[number // 2 % 2])
            number += 1

    def _enough(self, goal: Goal) -> bool:
        if goal.kills is not None:
            return min(self.kills.of_server, self.kills.of_workers) >= goal.kills
        assert goal.minutes is not None, "a goal has one of the two"
        return time.monotonic() > self._begun_s + 60 * goal.minutes

    def _kill(self, of_server: str, of_workers: str) -> None:
        """One round: kill both, and start both again."""
        sdk = self._random.choice(WORKERS)
        match self._random.choice(("server first", "worker first", "together")):
            case "server first":
                self.kills.kill_server(of_server)
                self._start_server()
                self.kills.kill_worker(of_workers, sdk).start()
            case "worker first":
                self.kills.kill_worker(of_workers, sdk).start()
                self.kills.kill_server(of_server)
                self._start_server()
            case "together":
                self.kills.engage(sdk)
                self.kills.kill_server(of_server)
                self.kills.kill_worker(of_workers, sdk).start()
                self._start_server()
        self._restarted_s = time.monotonic()

    def _start_server(self) -> None:
        self._server.start()
        self._restarted_s = time.monotonic()

    def _terminate(self, worker: WorkerProcess) -> None:
        """The official worker does not end when it was told to in the midst of a handshake."""
        try:
            worker.terminate()
        except AssertionError:
            if worker.sdk is not OFFICIAL:
                raise
            self.others["official worker killed that would not end"] += 1
            worker.kill()

    def _other(self, fault: str) -> None:
        self.others[fault] += 1
        worker = self._random.choice(self._workers)
        match fault:
            case "restart server":
                self._server.terminate()
                self._start_server()
            case "restart worker":
                worker.signal(signal.SIGCONT)
                pid = worker.pid
                self._terminate(worker)
                self.ledger.forget(pid)
                worker.start()
            case "stop server":
                os.kill(self._server.pid, signal.SIGSTOP)
                time.sleep(self._random.uniform(0.1, 2))
                os.kill(self._server.pid, signal.SIGCONT)
            case "stop worker":
                worker.signal(signal.SIGSTOP)
                goes_on_s = time.monotonic() + self._random.uniform(0.5, 6)  # the lease is 4 s
                self.stopped.add(worker.pid)
                self._later.append((goes_on_s, worker, worker.pid))

    def _go_on(self, now_s: float) -> None:
        """Continue the workers whose time to stand still is over."""
        due = [entry for entry in self._later if entry[0] <= now_s]
        self._later = [entry for entry in self._later if entry[0] > now_s]
        for _, worker, pid in due:
            if worker.is_running and worker.pid == pid:
                worker.signal(signal.SIGCONT)
                self._restarted_s = time.monotonic()

    def _revive(self) -> None:
        """The official worker gives up after five refusals in a row; its host restarts it."""
        for worker in self._workers:
            if not worker.is_running:
                assert worker.sdk is OFFICIAL, f"our worker has ended:\n{worker.log[-4_000:]}"
                self._gave_up += 1
                self.ledger.forget(worker.pid)
                worker.start()

    def _show_progress(self) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s >= PROGRESS_S:
            self._shown_s = now_s
            print(
                f"{now_s - self._begun_s:4.0f} s: {self.kills.of_server} kills of the server, "
                f"{self.kills.of_workers} of workers, {self.load.acknowledged} events",
                flush=True,
            )

    # --- the end ---

    def _settle(self) -> list[str]:
        """Wait until nothing is left to do."""

        def over() -> bool:
            self._revive()
            return not any(
                self._api.get(f"/v2/runs?status={status}&limit=1").get("data")
                for status in ("QUEUED", "RUNNING")
            )

        left_s = self._restarted_s + ENDS_S - time.monotonic()
        try:
            poll(over, f"all runs to end, {ENDS_S:g} s since the last restart", timeout_s=left_s)
        except AssertionError as error:
            return [str(error)]
        self._ended_s = time.monotonic() - self._restarted_s
        return []


def main(arguments: list[str] | None = None) -> int:
    """Run the soak; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    goals = parser.add_mutually_exclusive_group()
    goals.add_argument("--minutes", type=float)
    goals.add_argument("--kills", type=int, help="of the server, and as many of workers")
    parser.add_argument("--seed", type=int)
    given = parser.parse_args(arguments)
    goal = Goal(minutes=given.minutes, kills=given.kills)
    if goal == Goal():
        goal = Goal(kills=1_000)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"python -m tests.chaos.soak {goal} --seed {seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="stepwell-soak-"))
    soak = Soak(directory, seed)
    trouble = soak.run(goal) + soak.kills.missed()
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
