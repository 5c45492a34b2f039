"""What a dead server has left on disk, read from a copy: its own recovery stays its own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.rows import RunStatus
from stepwell.engine.state import Phase, RunState
from stepwell.store.sqlite import SqliteStore
from stepwell.wire.ids import ulid_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepwell.engine.state import Job, Sleep
    from stepwell.store.interface import Reader, RunRecord

RUNS_MAX = 1_000_000

__all__ = ["Phase", "Rows", "RunRows", "RunStatus", "copied", "read_rows"]


class RunRows:
    """One run: its status, finished steps by name, and what it waits for."""

    def __init__(self, record: RunRecord, reader: Reader) -> None:
        self.status = record.status
        self.steps = [step.name for step in reader.steps(record.run_id)]
        state = reader.live_state(record.run_id)
        self.is_live = state is not None
        live = RunState() if state is None else msgspec.msgpack.decode(state, type=RunState)
        self.jobs: list[Job] = live.jobs
        self.sleeps: list[Sleep] = live.sleeps

    @property
    def job(self) -> Job:
        """Its one job."""
        (job,) = self.jobs
        return job

    @property
    def request_ids(self) -> list[str]:
        """Of the calls that are out."""
        return [ulid_text(job.request_id) for job in self.jobs if job.request_id is not None]


class Rows(msgspec.Struct, frozen=True):
    """All runs by id, and counts over the whole store."""

    runs: dict[str, RunRows]
    live: int
    stranded: int
    quarantined: int

    def assert_settled(self) -> None:
        """Nothing is left to do, nothing was left behind, and the engine failed on nothing."""
        unfinished = [run_id for run_id, run in self.runs.items() if not run.status.is_over]
        assert not unfinished, f"{len(unfinished)} runs have not ended: {unfinished[:10]}"
        assert (self.live, self.stranded, self.quarantined) == (0, 0, 0)


@contextlib.contextmanager
def copied(data_dir: Path) -> Iterator[Path]:
    """A copy of a data directory that nobody uses."""
    with tempfile.TemporaryDirectory(prefix="stepwell-rows-") as parent:
        directory = Path(parent) / "data"
        shutil.copytree(data_dir, directory)
        yield directory


def read_rows(data_dir: Path) -> Rows:
    """Read the data of a server that does not run."""
    with copied(data_dir) as directory:
        store = SqliteStore(directory)
        try:
            reader = store.reader()
            records = reader.runs(limit=RUNS_MAX)
            return Rows(
                runs={ulid_text(record.run_id): RunRows(record, reader) for record in records},
                live=reader.count_live(),
                stranded=store.count_stranded(),
                quarantined=len(reader.quarantined(limit=100)),
            )
        finally:
            store.close()
