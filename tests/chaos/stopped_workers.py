"""Stop workers past their leases and let them answer late: `python -m tests.chaos.stopped_workers`.

In each round every worker holds so many calls, and one of them is stopped by SIGSTOP. When its
leases are over, its calls go to the others and are committed there. Then it goes on and answers,
and each of its replies must be refused. That they came is read from the server's log, which names
each reply that it refuses; that they changed nothing, from the rows.

Three workers take turns to stand still: one without an SDK that answers whatever it hears, ours,
and the official one. An SDK may hear that it has lost a call before it has answered; only replies
that the server has seen count.

Prints the counts last. The exit status is 1 if a late reply changed anything or was not refused.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.rows import RunStatus
from stepwell.store.sqlite import SqliteStore
from stepwell.wire.ids import ulid_text
from tests.chaos.rows import RUNS_MAX, copied
from tests.compat.api import Api
from tests.compat.lasting_server import LastingServer
from tests.compat.worker import OFFICIAL, OURS, Sdk, Stage, WorkerProcess
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Sequence

APP_ID = "late"
APPS = Path(__file__).with_name("apps")
RAW, STEPWELL, OFFICIAL_SDK = "raw", "stepwell", "official"
KINDS = (RAW, STEPWELL, OFFICIAL_SDK)
RESCUERS = 2  # of ours, which never stand still
WORKERS = len(KINDS) + RESCUERS
CALLS = 40
"""What each worker holds in a round."""

SERVER_OPTIONS = ("--connect-lease", "1.5", "--retry-interval", "0.2", "--log-level", "debug")
REFUSED = "a late reply is refused"
EVENTS_PER_REQUEST = 50
HAPPENS_S = 60.0
LOG_LINES_MAX = 1_500  # Of those that are kept: a round must not lose what it looks for.


class StoppedWorkers:
    """Rounds of the above over one server.

    Args:
        directory: For the data, the notes and the logs.
        calls: What each worker holds in a round.

    Attributes:
        held: Calls that were running when their workers were stopped, by kind of worker.
        sent: Bodies of those that ended, so that a reply was due, after the worker went on.
        refused: Late replies that the server refused. More than these: a call may be given to a
            worker that stands still, lost again, and answered late too.
        committed: Results that the rows hold at the end.
        late: Results of bodies in workers that were stopped.
    """

    def __init__(self, directory: Path, *, calls: int = CALLS) -> None:
        self.held: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.runs = 0
        self.committed: set[str] = set()
        self._calls = calls
        self._directory = directory
        self._rounds = 0
        self._stage = Stage(directory / "stage")
        self._server = LastingServer(*SERVER_OPTIONS, data_dir=directory / "data")
        self._api = Api(lambda: self._server.api_url)
        self.late: set[str] = set()

    def run(self, *, replies: int, kinds: Sequence[str] = KINDS) -> list[str]:
        """Have rounds until so many late replies were refused; what went wrong."""
        trouble: list[str] = []
        try:
            with contextlib.ExitStack() as running:
                running.enter_context(self._server)
                workers = {}
                for kind in (*KINDS, *(f"rescuer-{n}" for n in range(RESCUERS))):
                    workers[kind] = running.enter_context(self._worker(kind))
                    workers[kind].ready(self._api)  # The first to come get the fewest calls.
                while self._rounds < len(kinds) or self.refused.total() < replies:
                    kind = kinds[self._rounds % len(kinds)]
                    trouble += self._round(kind, workers[kind])
                    print(self._progress(), flush=True)
                    if trouble:
                        break
                self._server.kill()
        finally:
            (self._directory / "server.log").write_text(self._server.log)
        return trouble + self.judge(self.late)

    def lines(self) -> list[str]:
        """The counts, for people."""
        return [
            f"{kind}: {self.held[kind]} calls held by stopped workers, {self.sent[kind]} of them "
            f"ended late, {self.refused[kind]} late replies refused"
            for kind in KINDS
        ]

    def _worker(self, kind: str) -> WorkerProcess:
        app, sdk = "late", OFFICIAL if kind == OFFICIAL_SDK else OURS
        if kind == RAW:
            app, sdk = "raw_late", Sdk(OURS.name, OURS.python, {})
        return WorkerProcess(
            (APPS / f"{app}.py").read_text(),
            sdk=sdk,
            url=self._server.api_url,
            app_id=APP_ID,
            stage=self._stage,
            environ={"INNGEST_CONNECT_MAX_WORKER_CONCURRENCY": str(self._calls)},
        )

    def _progress(self) -> str:
        return f"round {self._rounds}: {self.refused.total()} late replies refused"

    # --- one round ---

    def _round(self, kind: str, victim: WorkerProcess) -> list[str]:
        self._rounds += 1
        name = f"round-{self._rounds}"
        connection_id = victim.ready(self._api)
        self._send(name, WORKERS * self._calls)
        poll(
            lambda: len(self._begun(name)) == WORKERS * self._calls,
            "all workers to hold calls",
            timeout_s=HAPPENS_S,
        )
        victim.signal(signal.SIGSTOP)
        held = [note for note in self._begun(name) if note["pid"] == victim.pid]
        self.held[kind] += len(held)
        self.late |= {note["result"] for note in held}

        self._stage.open(name)
        poll(self._all_ended, "the other workers to do it all", timeout_s=HAPPENS_S)
        victim.signal(signal.SIGCONT)

        results = {note["result"] for note in held}
        poll(lambda: results <= self._over(), "the stopped worker's bodies", timeout_s=HAPPENS_S)
        ended = {note["result"] for note in self._stage.ran("end")}
        self.sent[kind] += len(results & ended)
        if kind == RAW:
            return self._compare_raw(connection_id, name, victim.pid)
        # When it has left in good order, the server has read all that it had to say.
        assert victim.terminate() == 0, victim.log[-4_000:]
        poll(lambda: self._has_left(connection_id), "the worker to leave", timeout_s=HAPPENS_S)
        self.refused[kind] += len(self._refused(connection_id))
        victim.start()
        victim.ready(self._api)
        return []

    def _compare_raw(self, connection_id: str, name: str, pid: int) -> list[str]:
        """All that it has sent was acknowledged, and all of it was refused."""
        requests = {note["request"] for note in self._begun(name) if note["pid"] == pid}

        def acked() -> bool:
            return requests <= {note["request"] for note in self._stage.ran("acked")}

        poll(acked, "the late replies to be acknowledged", timeout_s=HAPPENS_S)
        # The server's line was written before, but it may not have been read.
        with contextlib.suppress(AssertionError):
            poll(lambda: requests <= self._refused(connection_id), "the lines", timeout_s=5)
        refused = self._refused(connection_id) & requests
        self.refused[RAW] += len(refused)
        if refused != requests:
            return [f"{name}: {len(requests - refused)} late replies were not refused"]
        return []

    def _send(self, name: str, count: int) -> None:
        events = [{"name": f"{APP_ID}/held", "data": {"round": name}}] * count
        for first in range(0, count, EVENTS_PER_REQUEST):
            self._api.send_all(events[first : first + EVENTS_PER_REQUEST])

    def _begun(self, name: str) -> list[dict[str, Any]]:
        return [note for note in self._stage.ran("begin") if note["round"] == name]

    def _over(self) -> set[str]:
        notes = (*self._stage.ran("end"), *self._stage.ran("cancelled"))
        return {note["result"] for note in notes}

    def _all_ended(self) -> bool:
        return not any(
            self._api.get(f"/v2/runs?status={status}&limit=1").get("data")
            for status in ("QUEUED", "RUNNING")
        )

    def _has_left(self, connection_id: str) -> bool:
        return bool(self._api.workers(id=connection_id, status="DISCONNECTED"))

    def _refused(self, connection_id: str) -> set[str]:
        """The calls whose late replies the server refused on this connection, as far as its log
        is kept."""
        records = [
            msgspec.json.decode(line) for line in self._server.log.splitlines() if REFUSED in line
        ]
        assert len(records) < LOG_LINES_MAX, "the log may have lost some"
        return {r["request"] for r in records if r["connection"] == connection_id}

    # --- the end ---

    def judge(self, late: set[str]) -> list[str]:
        """Every run has ended well, with results of bodies that ran, and with none of the late."""
        made = {note["result"] for note in self._stage.ran("begin")}
        faults = []
        with copied(self._server.data_dir) as directory:
            store = SqliteStore(directory)
            try:
                reader = store.reader()
                records = reader.runs(limit=RUNS_MAX)
                for run in records:
                    steps = reader.steps(run.run_id)
                    results = {
                        str(msgspec.json.decode(data or b"null"))
                        for data in (run.output, *(step.data for step in steps))
                    }
                    self.committed |= results
                    if run.status is not RunStatus.COMPLETED or len(steps) > 1:
                        faults.append(f"{ulid_text(run.run_id)} is {run.status.name}: {results}")
                    elif results & late or not results <= made:
                        faults.append(f"{ulid_text(run.run_id)} has a late result: {results}")
                stranded = max(store.count_stranded(), reader.count_live())
            finally:
                store.close()
        self.runs = len(records)
        if self.runs != self._rounds * WORKERS * self._calls or stranded:
            faults.append(f"{self.runs} runs, {stranded} of them stranded")
        return faults


def main(arguments: list[str] | None = None) -> int:
    """Have the rounds; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.stopped_workers", description=__doc__
    )
    parser.add_argument("--replies", type=int, default=500)
    given = parser.parse_args(arguments)
    print(f"python -m tests.chaos.stopped_workers --replies {given.replies}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="stepwell-stopped-"))
    scene = StoppedWorkers(directory)
    faults = scene.run(replies=given.replies)
    for line in (*scene.lines(), *(f"FAULT {fault}" for fault in faults[:50])):
        print(line)
    if faults:
        print(f"{len(faults)} faults; data, notes and logs are in {directory}")
        return 1
    shutil.rmtree(directory)
    print(f"{scene.runs} runs, all done by others; {scene.refused.total()} late replies refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
