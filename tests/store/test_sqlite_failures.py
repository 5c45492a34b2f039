"""SQLite on a disk that refuses: nothing is stored, the error says so, and the store goes on."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import apsw
import pytest

from stepwell.engine.rows import PutDedup
from stepwell.errors import Retryable, StoreError
from stepwell.store.sqlite import SqliteStore, connections
from stepwell.store.sqlite.failures import store_error
from stepwell.store.sqlite.store import DATABASE_FILE
from stepwell.wire.ids import RunId
from tests.store.contents import contents_of
from tests.store.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stepwell.engine.rows import Write
    from tests.store.stories import Story

pytestmark = pytest.mark.store


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk("failing")
    yield disk
    disk.unregister()


@pytest.fixture
def store(tmp_path: Path, disk: Disk) -> Iterator[SqliteStore]:
    """A store on a disk that fails when it is told to."""
    store = SqliteStore(tmp_path / "data", vfs=disk.name)
    yield store
    disk.mend()
    store.close()


def long_commit(story: Story) -> list[Write]:
    """Writes that need several pages."""
    run_id, intake = story.intake(data=b"d" * 20_000)
    return [*intake, story.event(name="a new name"), *story.report(run_id, 0)]


@pytest.mark.parametrize("code", [apsw.SQLITE_FULL, apsw.SQLITE_IOERR_WRITE])
def test_store_opens_on_a_disk_without_room_for_a_whole_log(
    tmp_path: Path, disk: Disk, story: Story, code: int
) -> None:
    """A quota is an I/O error to SQLite."""
    SqliteStore(tmp_path / "data", vfs=disk.name).close()
    disk.fail("write", "wal", code=code, after=5)
    store = SqliteStore(tmp_path / "data", vfs=disk.name)
    disk.mend()
    store.commit(story.intake()[1])
    assert contents_of(store)
    store.close()


def test_store_opens_while_another_program_writes(
    tmp_path: Path, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_MS", 10)
    SqliteStore(tmp_path / "data").close()
    other = apsw.Connection(str(tmp_path / "data" / DATABASE_FILE))
    other.execute("BEGIN IMMEDIATE")
    store = SqliteStore(tmp_path / "data")
    other.close()
    store.commit(story.intake()[1])
    store.close()


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("write", apsw.SQLITE_FULL),
        ("write", apsw.SQLITE_IOERR_WRITE),
        ("write", apsw.SQLITE_READONLY),
        ("sync", apsw.SQLITE_IOERR_FSYNC),
    ],
)
def test_commit_that_the_disk_refuses_stores_nothing_and_may_come_again(
    store: SqliteStore, disk: Disk, story: Story, method: str, code: int
) -> None:
    store.commit(story.intake()[1])
    second = long_commit(story)
    before = contents_of(store)
    refusals: list[Retryable] = []
    for after in range(100):  # each write or sync of the commit in turn
        disk.fail(method, "wal", code=code, after=after)
        try:
            store.commit(second)
            break
        except Retryable as error:
            refusals.append(error)
        finally:
            disk.mend()
        assert contents_of(store) == before
    assert len(refusals) >= (1 if method == "sync" else 10)
    assert all("nothing was stored" in str(error) for error in refusals)
    assert len(store.reader().runs(limit=9)) == 2
    assert len(store.reader().events(name="a new name", limit=9)) == 1


def test_commit_that_cannot_read_stores_nothing_and_may_come_again(
    tmp_path: Path, disk: Disk, story: Story
) -> None:
    store = SqliteStore(tmp_path / "data", vfs=disk.name)
    store.commit(story.intake()[1])
    before = contents_of(store)
    second = long_commit(story)
    refused = 0
    for after in range(100):
        store.close()
        store = SqliteStore(tmp_path / "data", vfs=disk.name)  # with nothing in its cache
        disk.fail("read", "db", code=apsw.SQLITE_IOERR_READ, after=after)
        try:
            store.commit(second)
            break
        except Retryable:
            refused += 1
        finally:
            disk.mend()
        assert contents_of(store) == before
    assert refused > 1
    assert len(store.reader().runs(limit=9)) == 2
    store.close()


def test_refused_commit_leaves_the_way_to_another_one(
    store: SqliteStore, disk: Disk, story: Story
) -> None:
    """The runtime builds the partition anew and decides otherwise."""
    disk.fail("sync", "wal", code=apsw.SQLITE_IOERR_FSYNC)
    with pytest.raises(Retryable):
        store.commit(long_commit(story))
    disk.mend()
    run_id, intake = story.intake()
    store.commit(intake)
    assert [run.run_id for run in store.reader().runs(limit=9)] == [run_id]
    assert store.reader().events(name="a new name", limit=9) == []


def test_deleting_expired_pairs_that_the_disk_refuses_deletes_nothing(
    store: SqliteStore, disk: Disk, story: Story
) -> None:
    pair = PutDedup(function_no=1, key="k", run_id=RunId(story.ulid()), expires_at_ms=5)
    store.commit([pair])
    disk.fail("write", "wal", code=apsw.SQLITE_FULL)
    with pytest.raises(Retryable):
        store.delete_expired_dedups(now_ms=9, limit=9)
    disk.mend()
    assert store.known_dedups([(1, "k")], now_ms=0) == {(1, "k"): pair.run_id}
    assert store.delete_expired_dedups(now_ms=9, limit=9) == 1


def test_housekeeping_that_the_disk_refuses_loses_nothing(
    store: SqliteStore, disk: Disk, story: Story
) -> None:
    store.commit(long_commit(story))
    before = contents_of(store)
    disk.fail("write", "db", code=apsw.SQLITE_FULL)
    with pytest.raises(Retryable):
        store.idle()
    disk.mend()
    assert contents_of(store) == before
    store.idle()
    assert contents_of(store) == before


def test_reads_that_the_disk_refuses_are_retryable(
    store: SqliteStore, disk: Disk, story: Story
) -> None:
    store.commit(long_commit(story))
    reader = store.reader()
    disk.fail("read", "wal", code=apsw.SQLITE_IOERR_READ)
    with pytest.raises(Retryable):
        reader.runs(limit=9)
    disk.mend()
    assert len(reader.runs(limit=9)) == 1


def test_file_that_may_not_grow_refuses_commits_and_keeps_what_it_has(
    tmp_path: Path, story: Story
) -> None:
    """On the real file system: the log outgrows the largest file that the process may write."""
    store = SqliteStore(tmp_path / "data")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    committed = 0
    try:
        while committed < 1_000:
            store.commit(long_commit(story))
            committed += 1
    except Retryable as error:
        refusal = error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "nothing was stored" in str(refusal)
    assert committed > 10
    assert len(store.reader().runs(limit=1_000)) == committed
    store.commit(long_commit(story))
    store.close()
    again = SqliteStore(tmp_path / "data")
    assert len(again.reader().runs(limit=1_000)) == committed + 1
    again.close()


def test_lock_of_another_program_is_retryable(
    tmp_path: Path, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_MS", 0)
    store = SqliteStore(tmp_path / "data")
    other = apsw.Connection(str(tmp_path / "data" / DATABASE_FILE))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Retryable, match="another program"):
        store.commit(long_commit(story))
    other.execute("ROLLBACK")
    other.close()
    store.commit(long_commit(story))
    store.close()


def test_damaged_database_is_not_retryable(tmp_path: Path, story: Story) -> None:
    store = SqliteStore(tmp_path / "data")
    for _ in range(50):
        store.commit(long_commit(story))
    store.close()
    path = tmp_path / "data" / DATABASE_FILE
    connection = apsw.Connection(str(path))
    roots = connection.execute("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall()
    connection.close()
    with path.open("r+b") as file:
        for (page,) in roots:  # of each table and index; what tables there are can be read
            assert isinstance(page, int)
            file.seek((page - 1) * 4096)
            file.write(b"\xa5" * 4096)
    store = SqliteStore(tmp_path / "data")
    with pytest.raises(StoreError, match="restore the data directory") as caught:
        store.commit(long_commit(story))
    assert caught.value.code == "store_corrupt"
    assert not isinstance(caught.value, Retryable)
    with pytest.raises(StoreError) as caught:
        store.reader().runs(limit=9)
    assert caught.value.code == "store_corrupt"
    store.close()


def test_file_that_is_no_database_is_refused_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data" / DATABASE_FILE
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        SqliteStore(path.parent)
    assert caught.value.code == "store_corrupt"
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_file_that_cannot_be_opened_says_which(tmp_path: Path) -> None:
    path = tmp_path / "data" / DATABASE_FILE
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=f"{path} cannot be opened"):
        SqliteStore(path.parent)
    path.rmdir()
    SqliteStore(path.parent).close()  # the failure has not left the directory locked


def test_damage_that_the_file_system_finds_is_not_retryable(tmp_path: Path) -> None:
    for code in (apsw.SQLITE_IOERR_CORRUPTFS, apsw.SQLITE_IOERR_DATA):
        error = apsw.exception_for(code)
        assert isinstance(error, apsw.Error)
        assert store_error(error, tmp_path).code == "store_corrupt"


def test_unknown_failure_is_a_store_error(tmp_path: Path) -> None:
    error = store_error(apsw.SQLError("no such table: run"), tmp_path / "x.db")
    assert (type(error), error.code) == (StoreError, "store_error")
    assert "no such table: run" in str(error)
