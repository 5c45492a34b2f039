"""The write-ahead log: emptied now and then, used again from its start, never in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from stepwell.store.sqlite import SqliteStore
from stepwell.store.sqlite.connections import PAGE_BYTES
from stepwell.store.sqlite.store import DATABASE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.stories import Story

pytestmark = pytest.mark.store

FRAME_BYTES = PAGE_BYTES + 24


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "data" / f"{DATABASE_FILE}-wal"


def commit_pages(store: SqliteStore, story: Story, pages: int) -> None:
    """Commit at least as many new pages."""
    store.commit(story.intake(data=b"d" * (pages * PAGE_BYTES))[1])


def frames_in_use(tmp_path: Path) -> int:
    """Pages that a checkpoint would find in the log."""
    connection = apsw.Connection(str(tmp_path / "data" / DATABASE_FILE))
    in_log, _done = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    connection.close()
    return in_log


def test_commits_are_synced_into_a_log(sqlite_store: SqliteStore) -> None:
    connection = sqlite_store._connection
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2  # FULL


def test_log_has_its_usual_size_from_the_start(tmp_path: Path, log: Path) -> None:
    store = SqliteStore(tmp_path / "data", checkpoint_pages=50)
    assert log.stat().st_size >= 50 * PAGE_BYTES
    assert (tmp_path / "data" / DATABASE_FILE).stat().st_size < 50 * PAGE_BYTES
    assert frames_in_use(tmp_path) < 20
    store.close()


def test_commits_empty_the_log_at_its_measure(tmp_path: Path, story: Story, log: Path) -> None:
    store = SqliteStore(tmp_path / "data", checkpoint_pages=50)
    for _ in range(100):
        commit_pages(store, story, 10)
    assert log.stat().st_size < 100 * FRAME_BYTES
    store.close()


def test_quiet_moment_empties_the_log_and_keeps_its_file(
    sqlite_store: SqliteStore, tmp_path: Path, story: Story, log: Path
) -> None:
    """A commit into space that is there already is nearly twice as fast."""
    commit_pages(sqlite_store, story, 100)
    before = log.stat().st_size
    sqlite_store.idle()
    sqlite_store.commit(story.intake()[1])
    assert log.stat().st_size == before
    assert frames_in_use(tmp_path) < 20


def test_log_that_a_reader_made_grow_is_cut_when_it_is_used_again(
    tmp_path: Path, story: Story, log: Path
) -> None:
    store = SqliteStore(tmp_path / "data", checkpoint_pages=50)
    store.commit(story.intake()[1])
    slow = apsw.Connection(str(tmp_path / "data" / DATABASE_FILE))
    slow.execute("BEGIN; SELECT count(*) FROM run")
    for _ in range(50):
        commit_pages(store, story, 10)
    grown = log.stat().st_size
    assert grown > 500 * FRAME_BYTES
    store.idle()  # does not wait for the reader
    slow.close()
    store.idle()
    store.commit(story.intake()[1])
    assert log.stat().st_size <= 2 * 50 * PAGE_BYTES
    store.close()


def test_quiet_moment_while_somebody_reads_is_not_the_last_one(
    sqlite_store: SqliteStore, tmp_path: Path, story: Story
) -> None:
    commit_pages(sqlite_store, story, 100)
    slow = apsw.Connection(str(tmp_path / "data" / DATABASE_FILE))
    slow.execute("BEGIN; SELECT count(*) FROM run")
    sqlite_store.commit(story.intake()[1])
    sqlite_store.idle()
    slow.close()
    sqlite_store.idle()
    sqlite_store.commit(story.intake()[1])
    assert frames_in_use(tmp_path) < 20


def test_readers_of_lists_do_not_hold_the_log(
    sqlite_store: SqliteStore, tmp_path: Path, story: Story
) -> None:
    reader = sqlite_store.reader()
    for _ in range(3):
        commit_pages(sqlite_store, story, 30)
        reader.runs(function_nos=[1], limit=1)
        reader.runs(limit=1)
        reader.events(include_internal=True, limit=1)
        sqlite_store.idle()
        sqlite_store.commit(story.intake()[1])
        assert frames_in_use(tmp_path) < 20


def test_closed_store_leaves_one_file_and_the_lock(tmp_path: Path, story: Story) -> None:
    store = SqliteStore(tmp_path / "data")
    reader = store.reader()
    store.commit(story.intake()[1])
    assert len(reader.runs(limit=9)) == 1
    store.close()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["lock", DATABASE_FILE]
    reader.close()
