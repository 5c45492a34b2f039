"""What the bodies of steps noted, and whether the server's rows agree with it."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.rows import RunStatus, StepKind
from stepwell.store.sqlite import SqliteStore
from stepwell.wire.ids import EventId, RunId, parse_ulid, ulid_text
from tests.chaos.rows import copied

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from stepwell.store.interface import Reader, RunRecord
    from tests.chaos.load import Sent

STEPS = {
    "chain": [f"step-{number}" for number in range(5)],
    "fan": [*(f"branch-{number}" for number in range(4)), "join"],
    "nap": ["before", "after"],
    "flaky": ["once-more"],
    "doomed": ["in-vain"],
    "safe": [f"step-{number}" for number in range(5)],
    "safe-sync": [f"{word}-{number}" for number in range(4) for word in ("branch", "then")],
    "buffered": [*(f"step-{number}" for number in range(4)), "paid", "after"],
    "eager": [
        *(f"{word}-{number}" for number in range(4) for word in ("branch", "then")),
        "join",
    ],
    "eager-nap": ["before-0", "before-1", "after"],
}
RUNS_MAX = 10_000_000


class Ledger:
    """The notes of all workers, read as they grow; on any thread."""

    def __init__(self, notes: Path) -> None:
        self._path = notes
        self._lock = threading.Lock()
        self._position = 0
        self._begun: dict[str, dict[str, Any]] = {}
        self._open: dict[str, int] = {}  # result -> process
        self._done: set[str] = set()
        self._stored: set[tuple[str, str]] = set()  # run and step that a function saw stored
        self._after: list[tuple[int, str, str]] = []  # process, run and step: begun after that

    def read(self) -> None:
        """Take in what was noted since the last time."""
        with self._lock:
            if not self._path.exists():
                return
            with self._path.open("rb") as file:
                file.seek(self._position)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._position += len(whole) + len(newline)
            for line in whole.splitlines():
                self._take(msgspec.json.decode(line))

    def _take(self, note: dict[str, Any]) -> None:
        match note["name"]:
            case "begin":
                self._begun[note["result"]] = note
                self._open[note["result"]] = note["pid"]
                if (note["run"], note["step"]) in self._stored:
                    self._after.append((note["pid"], note["run"], note["step"]))
            case "stored":
                self._stored.add((note["run"], note["step"]))
            case "end":
                self._open.pop(note["result"], None)
            case "done":
                self._done.add(note["key"])

    @property
    def bodies(self) -> int:
        """How many bodies have begun."""
        return len(self._begun)

    @property
    def stored(self) -> int:
        """How many steps were seen stored by calls that went on."""
        return len(self._stored)

    def begun_after(self, stopped: Collection[int]) -> list[tuple[str, str]]:
        """Run and step of bodies that have begun although the function saw their step stored.

        Args:
            stopped: Processes that stood still for a while. Between a step and the next one such
                a process cannot know that its call was given to another.
        """
        return [(run, step) for pid, run, step in self._after if pid not in stopped]

    def unfinished(self, acknowledged: int) -> int:
        """How many of so many runs have not come to their end."""
        self.read()
        return acknowledged - len(self._done)

    def at_work(self, pid: int | None = None) -> int:
        """How many bodies have begun and not ended, in one process or in all."""
        self.read()
        with self._lock:
            holders = list(self._open.values())
        return len(holders) if pid is None else holders.count(pid)

    def forget(self, pid: int) -> None:
        """A process is dead: its bodies will not end."""
        with self._lock:
            self._open = {result: held for result, held in self._open.items() if held != pid}

    def made(self, result: str, *, run_id: str, step: str) -> bool:
        """Whether a body of this step of this run made the result."""
        note = self._begun.get(result)
        return note is not None and (note["run"], note["step"]) == (run_id, step)


class Verdict(msgspec.Struct):
    """What was found; `faults` is empty if nothing was lost and nothing happened twice.

    Attributes:
        lost: Events, runs and results that are missing.
        stranded: Runs that have not ended.
        twice: Runs and steps that are there again, and results that are not those of their steps.
    """

    runs: int = 0
    steps: int = 0
    lost: int = 0
    stranded: int = 0
    twice: int = 0
    faults: list[str] = []


def judge(
    data_dir: Path, sent: Iterable[Sent], ledger: Ledger, *, stopped: Collection[int] = ()
) -> Verdict:
    """Compare the rows of a server that does not run with what was sent and noted.

    Args:
        stopped: Processes that stood still for a while.
    """
    ledger.read()
    verdict = Verdict()
    for run_id, step in ledger.begun_after(stopped):
        verdict.twice += 1
        verdict.faults.append(f"{run_id}: {step} began again after it was stored")
    with copied(data_dir) as directory:
        store = SqliteStore(directory)
        try:
            reader = store.reader()
            records = reader.runs(limit=RUNS_MAX)
            verdict.runs = len(records)
            stranded, live = store.count_stranded(), reader.count_live()
            verdict.stranded = max(stranded, live)
            if verdict.stranded:
                verdict.faults.append(f"{live} runs have not ended, {stranded} are stranded")
            for row in reader.quarantined(limit=10):
                verdict.faults.append(f"quarantined: {row.input_repr[:200]} {row.traceback}")
            by_key, handlers = _sorted(reader, records)
            for event in sent:
                runs = by_key.get(event.key, [])
                _judge_event(event, runs, reader, ledger, verdict)
                if event.kind == "doomed" and runs:
                    _judge_handlers(runs[0], handlers[runs[0].run_id], verdict)
        finally:
            store.close()
    return verdict


def _sorted(
    reader: Reader, records: list[RunRecord]
) -> tuple[dict[str, list[RunRecord]], dict[RunId, list[RunRecord]]]:
    """The runs by the key of their event, and the failure handlers' by the run that failed."""
    runs: dict[str, list[RunRecord]] = defaultdict(list)
    handlers: dict[RunId, list[RunRecord]] = defaultdict(list)
    for record in records:
        event = reader.event(record.event_id)
        assert event is not None, "a run's event is stored with the run"
        if event.source_run is not None:
            handlers[event.source_run].append(record)
        elif event.external_id is not None:
            runs[event.external_id].append(record)
    return runs, handlers


def _judge_event(
    sent: Sent, runs: list[RunRecord], reader: Reader, ledger: Ledger, verdict: Verdict
) -> None:
    for event_id in sent.ids:
        if reader.event(EventId(parse_ulid(event_id))) is None:
            verdict.lost += 1
            verdict.faults.append(f"{sent.key}: event {event_id} was acknowledged and is lost")
    if len(runs) != 1:
        verdict.lost += not runs
        verdict.twice += len(runs) > 1
        verdict.faults.append(f"{sent.key} ({sent.kind}) has {len(runs)} runs")
        return
    (run,) = runs
    wanted = RunStatus.FAILED if sent.kind == "doomed" else RunStatus.COMPLETED
    if run.status is not wanted:
        verdict.faults.append(
            f"{sent.key} ({sent.kind}): run {ulid_text(run.run_id)} is {run.status.name}: "
            f"{run.output!r}"
        )
        return
    _judge_steps(sent, run, reader, ledger, verdict)


def _judge_handlers(run: RunRecord, handlers: list[RunRecord], verdict: Verdict) -> None:
    ends = [(handler.status, handler.output) for handler in handlers]
    if len(ends) == 1:
        ((status, output),) = ends
        if status is RunStatus.COMPLETED:
            return
        if status is RunStatus.FAILED and _lost_on_the_way(output):
            return  # it has one attempt
    verdict.lost += not ends
    verdict.twice += len(ends) > 1
    verdict.faults.append(f"{ulid_text(run.run_id)} failed, its handlers: {ends}")


def _judge_steps(
    sent: Sent, run: RunRecord, reader: Reader, ledger: Ledger, verdict: Verdict
) -> None:
    run_id = ulid_text(run.run_id)
    steps = [step for step in reader.steps(RunId(run.run_id)) if step.kind is not StepKind.SLEEP]
    verdict.steps += len(steps)
    names = Counter(step.name for step in steps)
    if sent.kind == "doomed" and not steps and _lost_on_the_way(run.output):
        return
    wanted = Counter(STEPS[sent.kind])
    if names != wanted:
        verdict.lost += bool(wanted - names)
        verdict.twice += bool(names - wanted)
        verdict.faults.append(
            f"{sent.key} ({sent.kind}): run {run_id} has the steps {names}; it ended with "
            f"{run.output!r}"
        )
        return
    results: dict[str, str] = {}
    for step in steps:
        if step.kind is StepKind.FAILED:
            continue
        result = results[step.name] = msgspec.json.decode(step.data, type=str)
        if not ledger.made(result, run_id=run_id, step=step.name):
            verdict.lost += 1
            verdict.faults.append(f"{run_id}: no body of {step.name} has made {result}")
    returned = [results[name] for name in STEPS[sent.kind] if name in results]
    if sent.kind != "doomed" and msgspec.json.decode(run.output or b"null") != returned:
        verdict.twice += 1
        verdict.faults.append(f"{run_id}: returned {run.output!r}, its steps say {returned}")


def _lost_on_the_way(error: bytes | None) -> bool:
    """Whether a run's last attempt was used up by the faults.

    The official worker reports a failure if its socket breaks before it has acknowledged a call;
    the server does so if a call has lost its worker three times in a row.
    """
    fields = msgspec.json.decode(error or b"{}")
    name = str(fields.get("name"))
    return (
        name == "connect_worker_stopped_responding"
        or name.startswith("ConnectionClosed")
        or fields.get("message") == "No WebSocket connection"
    )
