"""What finished runs weigh on disk. `benchmarks/micro/store_commit.py` weighs 20,000 of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.engine.rows import DeleteLive
from stepwell.store.sqlite import SqliteStore
from stepwell.store.sqlite.store import DATABASE_FILE
from tests.store.stories import Story

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.store

RUNS = 1_000
RUN_BYTES_MAX = 1_600  # The budget; 1,260 were measured.


@pytest.mark.parametrize("in_flight", [1, 50])
def test_finished_ten_step_run_takes_at_most_its_budget(tmp_path: Path, in_flight: int) -> None:
    store = SqliteStore(tmp_path)
    commits = Story().chains(runs=RUNS, steps=10, in_flight=in_flight)
    batch = 10 if in_flight == 1 else 1  # in one commit, since a test need not sync 10,000 times
    writes = []
    for number, commit in enumerate(commits):
        writes += commit
        if number % batch == 0:
            store.commit(writes)
            writes = []
    store.commit(writes)
    assert len(store.reader().runs(limit=RUNS + 1)) == RUNS
    store.close()
    size = (tmp_path / DATABASE_FILE).stat().st_size
    print(f"{size / RUNS:,.0f} bytes a run, {in_flight} in flight")
    assert size / RUNS <= RUN_BYTES_MAX


def test_space_of_runs_that_are_no_longer_live_is_used_again(tmp_path: Path) -> None:
    """Six busy hours take no more than one, beside what finished runs leave behind."""
    store = SqliteStore(tmp_path)
    story = Story()
    sizes = []
    for _ in range(6):
        run_ids = [story.intake()[0] for _ in range(500)]
        store.commit([story.live(run_id, wake_at_ms=5) for run_id in run_ids])
        store.commit([DeleteLive(run_id=run_id) for run_id in run_ids])
        store.idle()
        sizes.append((tmp_path / DATABASE_FILE).stat().st_size)
    assert sizes[-1] < 1.2 * sizes[0]
    store.close()
