"""What a trouble did to each SDK's runs: the server's rows beside the notes of the bodies."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.rows import HistoryKind, RunStatus
from stepwell.store.sqlite import SqliteStore
from stepwell.wire.ids import EventId, parse_ulid, ulid_text
from tests.chaos.rows import RUNS_MAX, copied

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from stepwell.store.interface import Reader, RunRecord

STEPS = ("first", "held", "last")
OUR_LOSS = "connect_worker_stopped_responding"
LOSSES_PER_ATTEMPT = 3
OURS = "stepwell"


class Sent(msgspec.Struct):
    """An event that was acknowledged: its key, its app, and the server's ids for it."""

    key: str
    app: str
    is_held: bool
    ids: list[str]


class Verdict(msgspec.Struct, kw_only=True):
    """One SDK in one trouble.

    Attributes:
        lost: Events, runs and results that are missing.
        twice: Runs and steps that are there again.
        after_commit: Bodies that began when their step had been committed.
        repeats: Bodies that ran again although no result of them was committed before.
        losses: Calls that lost their worker.
        early: Attempts that our transport used up below the third loss in a row.
        by_transport: All that it used up.
        by_sdk: Attempts that the SDK itself reported as failed, by the name of the error.
        restarts: How often its process was started again because it had given up.
        settled_s: From the end of the trouble to the end of the last run.
    """

    trouble: str
    sdk: str
    runs: int = 0
    held: int = 0
    lost: int = 0
    twice: int = 0
    after_commit: int = 0
    repeats: int = 0
    losses: int = 0
    early: int = 0
    by_transport: int = 0
    by_sdk: Counter[str] = msgspec.field(default_factory=Counter)
    restarts: int = 0
    settled_s: float = 0.0
    faults: list[str] = msgspec.field(default_factory=list)


class Judge:
    """Reads the data of a server that does not run.

    Args:
        notes: All that the bodies have noted.
    """

    def __init__(self, notes: Iterable[dict[str, Any]]) -> None:
        self._bodies: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for note in notes:
            if note["name"] == "begin":
                self._bodies[note["run"], note["step"]].append(note)

    def judge(self, data_dir: Path, sent: Iterable[Sent], verdicts: dict[str, Verdict]) -> None:
        """Fill the verdict of each event's app."""
        with copied(data_dir) as directory:
            store = SqliteStore(directory)
            try:
                reader = store.reader()
                live, stranded = reader.count_live(), store.count_stranded()
                quarantined = reader.quarantined(limit=10)
                runs = _by_key(reader)
                for event in sent:
                    verdict = verdicts[event.app]
                    self._event(event, runs.get(event.key, []), reader, verdict)
            finally:
                store.close()
        for verdict in verdicts.values():
            if live or stranded or quarantined:
                verdict.faults.append(f"{live} live, {stranded} stranded, {quarantined}")

    def _event(self, event: Sent, runs: list[RunRecord], reader: Reader, verdict: Verdict) -> None:
        if any(reader.event(EventId(parse_ulid(event_id))) is None for event_id in event.ids):
            verdict.lost += 1
            verdict.faults.append(f"{event.key} was acknowledged and is lost")
        if len(runs) != 1:
            verdict.lost += not runs
            verdict.twice += len(runs) > 1
            verdict.faults.append(f"{event.key} has {len(runs)} runs")
            return
        (run,) = runs
        verdict.runs += 1
        verdict.held += event.is_held
        self._attempts(run, reader, verdict)
        if run.status is not RunStatus.COMPLETED:
            verdict.lost += 1
            verdict.faults.append(f"{event.key}: the run is {run.status.name}: {run.output!r}")
            return
        self._steps(run, reader, verdict)

    def _attempts(self, run: RunRecord, reader: Reader, verdict: Verdict) -> None:
        losses = 0
        for row in reader.history(run.run_id):
            if row.kind is HistoryKind.CALL_LOST:
                losses += 1
                verdict.losses += 1
            elif row.kind is HistoryKind.ATTEMPT_FAILED:
                error = msgspec.json.decode(row.payload or b"{}")
                name = str(error.get("name") or error.get("message"))
                if name != OUR_LOSS:
                    verdict.by_sdk[name] += 1
                    continue
                verdict.by_transport += 1
                if losses < LOSSES_PER_ATTEMPT:
                    verdict.early += 1
                    verdict.faults.append(
                        f"{ulid_text(run.run_id)}: an attempt is gone after {losses} losses"
                    )
                losses = 0

    def _steps(self, run: RunRecord, reader: Reader, verdict: Verdict) -> None:
        run_id = ulid_text(run.run_id)
        steps = reader.steps(run.run_id)
        names = [step.name for step in steps]
        if names != list(STEPS):
            verdict.lost += len(set(names)) < len(STEPS)
            verdict.twice += len(names) > len(set(names))
            verdict.faults.append(f"{run_id} has the steps {names}")
            return
        results = [msgspec.json.decode(step.data, type=str) for step in steps]
        if msgspec.json.decode(run.output or b"null") != results:
            verdict.twice += 1
            verdict.faults.append(f"{run_id} returned {run.output!r}, its steps say {results}")
        for step, result in zip(steps, results, strict=True):
            bodies = self._bodies[run_id, step.name]
            made = [note["result"] for note in bodies].count(result)
            if made != 1:
                verdict.lost += 1
                verdict.faults.append(f"{run_id}: {made} bodies of {step.name} made {result}")
            late = [note for note in bodies if note["at"] * 1_000 > step.ended_at_ms + 1]
            verdict.repeats += len(bodies) - made - len(late)
            verdict.after_commit += len(late)
            verdict.faults += [
                f"{run_id}: {step.name} began {note['at'] * 1_000 - step.ended_at_ms:.0f} ms after "
                "its commit"
                for note in late
            ]


def _by_key(reader: Reader) -> dict[str, list[RunRecord]]:
    runs: dict[str, list[RunRecord]] = defaultdict(list)
    for record in reader.runs(limit=RUNS_MAX):
        event = reader.event(record.event_id)
        assert event is not None, "a run's event is stored with the run"
        if event.external_id is not None:
            runs[event.external_id].append(record)
    return runs


COLUMNS = (
    "trouble", "sdk", "runs", "held", "lost", "twice", "after commit", "repeats", "losses",
    "attempts: ours", "early", "the SDK's own", "restarts", "settled",
)  # fmt: skip


def table(verdicts: Iterable[Verdict]) -> list[str]:
    """A line for each verdict, below one of titles."""
    rows = [COLUMNS, *(_cells(verdict) for verdict in verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cells(verdict: Verdict) -> tuple[str, ...]:
    own = ", ".join(f"{count} {name}" for name, count in sorted(verdict.by_sdk.items()))
    counts = (
        verdict.runs,
        verdict.held,
        verdict.lost,
        verdict.twice,
        verdict.after_commit,
        verdict.repeats,
        verdict.losses,
        verdict.by_transport,
        verdict.early,
    )
    return (
        verdict.trouble,
        verdict.sdk,
        *(str(count) for count in counts),
        own or "0",
        str(verdict.restarts),
        f"{verdict.settled_s:.1f} s",
    )
