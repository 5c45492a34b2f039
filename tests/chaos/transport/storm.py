"""Many workers lose their sockets at once and come back: `python -m tests.chaos.transport.storm`.

The many are protocol clients in two processes, each holding calls; beside them are real workers at
work. Prints how long it took until each was active again. The exit status is 1 if a call of
anybody was lost, a run ended twice or not with the result of its call, a real worker's run used an
attempt, or the slowest hundredth took more than ten seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from stepwell.engine.rows import HistoryKind, RunStatus
from stepwell.store.sqlite import SqliteStore
from tests.chaos.rows import RUNS_MAX, copied
from tests.chaos.transport.crowd import ACTIVE_S, APP
from tests.chaos.transport.troubles import LONG
from tests.chaos.transport.worker import LANGUAGES
from tests.chaos.transport.world import World
from tests.compat.languages import ROOT
from tests.server_process import clean_environ, die_with_the_tests, poll

if TYPE_CHECKING:
    from collections.abc import Iterable

PROCESSES = 2
P99_MS_MAX = 10_000
CALLS_PER_CLIENT = 2
HAPPENS_S = 60.0
EVENTS_PER_REQUEST = 100
(_OURS,) = (language for language in LANGUAGES if not language.official)


class Result(msgspec.Struct, kw_only=True):
    """What came of a storm; `faults` is empty if all went well.

    Attributes:
        took_ms: Until each client was active again, shortest first.
        first_ms: The same for the first time that they connected.
    """

    took_ms: list[float]
    first_ms: list[float]
    runs: int = 0
    calls_lost: int = 0
    real_runs: int = 0
    faults: list[str] = []

    def lines(self) -> list[str]:
        """For people."""
        runs = f"{self.runs} runs of theirs, {self.calls_lost} calls lost"
        return [
            f"connected: {_spread(self.first_ms)}",
            f"again after the cut: {_spread(self.took_ms)}",
            f"{runs}; {self.real_runs} runs of real workers",
        ]


class Process:
    """A crowd in a process of its own."""

    def __init__(self, world: World, name: str, count: int) -> None:
        command = [sys.executable, "-m", "tests.chaos.transport.crowd"]
        self._command = [*command, world.api_url, world.gateway_url, name, str(count)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=clean_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_the_tests,
        )
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._process is not None, "the process was started"
        with self._process as process:
            process.kill()

    def order(self, text: str) -> None:
        """Give it an order; see `answer`."""
        assert self._process is not None, "the process was started"
        assert self._process.stdin is not None, "its input is a pipe"
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What it says next; it gives up by itself after a minute."""
        assert self._process is not None, "the process was started"
        assert self._process.stdout is not None, "its output is a pipe"
        line = self._process.stdout.readline()
        assert line, f"a crowd has ended: it was not active within {ACTIVE_S:g} s"
        fact: dict[str, Any] = msgspec.json.decode(line)
        return fact


def storm(directory: Path, *, clients: int, real: int) -> Result:
    """Have one."""
    with World(directory, LONG, languages=[_OURS]) as world, contextlib.ExitStack() as running:
        others = [world.new_worker(_OURS) for _ in range(real - 1)]
        for worker in others:
            worker.start()
        world.ready(others)
        count = clients // PROCESSES
        crowds = [
            running.enter_context(Process(world, f"crowd-{number}", count))
            for number in range(PROCESSES)
        ]
        first_ms = _times(crowds)
        wanted = CALLS_PER_CLIENT * clients
        sent = _send(world, wanted)
        poll(lambda: _held(crowds) == wanted, f"{wanted} calls to be held", timeout_s=HAPPENS_S)
        for crowd in crowds:
            crowd.order("cut")
        took_ms = _times(crowds)
        for crowd in crowds:
            crowd.order("answer")
        for crowd in crowds:
            crowd.answer()
        world.open_gate()
        world.settle()
        (verdict,) = world.judge("storm", 0.0)
        result = Result(took_ms=took_ms, first_ms=first_ms, real_runs=verdict.runs)
        result.faults = [*verdict.faults]
        if verdict.losses or verdict.by_transport or verdict.by_sdk or verdict.restarts:
            result.faults.append(f"real workers were harmed: {verdict}")
        _judge(world.server.data_dir, sent, result)
    return result


def _times(crowds: Iterable[Process]) -> list[float]:
    return sorted(took for crowd in crowds for took in crowd.answer()["took_ms"])


def _held(crowds: Iterable[Process]) -> int:
    held = 0
    for crowd in crowds:
        crowd.order("count")
        held += crowd.answer()["held"]
    return held


def _send(world: World, count: int) -> list[str]:
    sent: list[str] = []
    while len(sent) < count:
        room = min(EVENTS_PER_REQUEST, count - len(sent))
        sent += world.api.send_all([{"name": f"{APP}/held", "data": {}}] * room)
    return sent


def _judge(data_dir: Path, sent: list[str], result: Result) -> None:
    """Each event of the crowd has one run, with one result of its own, and no call was lost."""
    with copied(data_dir) as directory:
        store = SqliteStore(directory)
        try:
            reader = store.reader()
            runs = [
                run
                for run in reader.runs(limit=RUNS_MAX)
                if (event := reader.event(run.event_id)) and event.name == f"{APP}/held"
            ]
            histories = [row.kind for run in runs for row in reader.history(run.run_id)]
        finally:
            store.close()
    result.runs = len(runs)
    result.calls_lost = histories.count(HistoryKind.CALL_LOST)
    outputs = {run.output for run in runs}
    unfinished = [run for run in runs if run.status is not RunStatus.COMPLETED]
    if not len(runs) == len(outputs) == len(set(sent)) or unfinished:
        result.faults.append(
            f"{len(set(sent))} events have {len(runs)} runs with {len(outputs)} results, "
            f"{len(unfinished)} of them not completed"
        )
    if result.calls_lost or HistoryKind.ATTEMPT_FAILED in histories:
        result.faults.append(f"{result.calls_lost} calls of the crowd were lost")


def _spread(took_ms: list[float]) -> str:
    shown = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    last = len(took_ms) - 1
    return ", ".join(f"{name} {took_ms[int(last * part)]:.0f} ms" for name, part in shown.items())


def main(arguments: list[str] | None = None) -> int:
    """Have a storm; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.transport.storm")
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--real", type=int, default=10, help="real workers beside them")
    given = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="stepwell-storm-"))
    result = storm(directory, clients=given.clients, real=given.real)
    for line in result.lines():
        print(line)
    p99_ms = result.took_ms[int(0.99 * (len(result.took_ms) - 1))]
    if p99_ms > P99_MS_MAX:
        result.faults.append(f"the slowest hundredth took {p99_ms:.0f} ms or more")
    for fault in result.faults:
        print(f"FAULT {fault}")
    if result.faults:
        print(f"data and notes are in {directory}")
        return 1
    shutil.rmtree(directory)
    print("all came back, nothing was lost, nothing happened twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
