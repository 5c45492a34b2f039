"""The database file: made, brought up to date, refused when it is not for us."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import apsw
import msgspec
import pytest

from stepwell.errors import StoreError
from stepwell.store.sqlite import SqliteStore, schema
from stepwell.store.sqlite.schema import MIGRATIONS_DIRECTORY, load_migrations, migrate
from stepwell.store.sqlite.store import DATABASE_FILE
from tests.store.fixtures.make_fixture import FIXTURES, contents_of_fixture

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.store

VERSIONS = range(1, len(load_migrations()) + 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_database_of_each_version_is_read_back_whole(tmp_path: Path, version: int) -> None:
    shutil.copy(FIXTURES / f"v{version}.db", tmp_path / DATABASE_FILE)
    store = SqliteStore(tmp_path)
    expected = msgspec.json.decode((FIXTURES / f"v{version}.json").read_bytes())
    contents = contents_of_fixture(store)
    newer = {name: contents.pop(name) for name in contents.keys() - expected.keys()}
    assert contents == expected
    assert not any(map(any, newer.values())), "what a version did not know of is empty"
    store.close()
    connection = apsw.Connection(str(tmp_path / DATABASE_FILE))
    assert connection.pragma("user_version") == len(load_migrations())
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_fixture_has_rows_in_every_table(version: int) -> None:
    connection = apsw.Connection(
        f"file:{FIXTURES / f'v{version}.db'}?immutable=1",
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
    )
    tables = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")
    ]
    empty = [
        name
        for name in tables
        if not connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchall()
    ]
    connection.close()
    assert len(tables) >= 10
    assert empty == []


def test_schema_from_nothing_is_the_schema_of_the_last_fixture(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    query = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
    made = apsw.Connection(str(tmp_path / DATABASE_FILE)).execute(query).fetchall()
    kept = (
        apsw.Connection(
            f"file:{FIXTURES / f'v{VERSIONS[-1]}.db'}?immutable=1",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        )
        .execute(query)
        .fetchall()
    )
    assert made == kept


def test_each_migration_says_when_it_runs_and_is_safe_to_run_twice() -> None:
    connection = apsw.Connection(":memory:")
    for migration in load_migrations():
        assert f"-- Deploy: {migration.when}." in migration.sql
        assert "Safe to run twice" in migration.sql
        connection.execute(migration.sql)
        once = connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()
        connection.execute(migration.sql)
        assert connection.execute("SELECT name, sql FROM sqlite_schema").fetchall() == once
    connection.close()


def test_every_table_has_a_partition() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection)
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type='table'").fetchall()
    for (table,) in tables:
        columns = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
        assert ("partition",) in columns, table
    connection.close()


def test_migration_that_was_cut_short_is_run_again(tmp_path: Path) -> None:
    """Its tables are there, its version is not."""
    store = SqliteStore(tmp_path)
    store.close()
    connection = apsw.Connection(str(tmp_path / DATABASE_FILE))
    connection.pragma("user_version", 0)
    connection.close()
    SqliteStore(tmp_path).close()


def test_failed_migration_leaves_the_version_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteStore(tmp_path / "data").close()
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS_DIRECTORY, migrations)
    number = len(VERSIONS) + 1
    bad = migrations / f"{number:04}_before_bad.sql"
    bad.write_text("CREATE TABLE half (a); CREATE TABLE run (a);")
    monkeypatch.setattr(schema, "MIGRATIONS_DIRECTORY", migrations)
    with pytest.raises(StoreError):
        SqliteStore(tmp_path / "data")
    bad.write_text("CREATE TABLE half (a);")
    SqliteStore(tmp_path / "data").close()
    connection = apsw.Connection(str(tmp_path / "data" / DATABASE_FILE))
    assert connection.pragma("user_version") == number
    connection.close()


def test_database_of_a_newer_version_is_refused_as_it_is(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    path = tmp_path / DATABASE_FILE
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer Stepwell") as caught:
        SqliteStore(tmp_path)
    assert caught.value.code == "store_too_new"
    assert str(path) in str(caught.value)
    assert re.search(r"version 99\b", str(caught.value))
    assert path.read_bytes() == before


@pytest.mark.parametrize("pragmas", [{"application_id": 1}, {"user_version": 1}])
def test_database_of_another_program_is_refused_as_it_is(
    tmp_path: Path, pragmas: dict[str, int]
) -> None:
    path = tmp_path / DATABASE_FILE
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (a)")
    for name, value in pragmas.items():
        connection.pragma(name, value)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(tmp_path)
    assert path.read_bytes() == before


def test_migration_with_a_bad_name_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS_DIRECTORY", tmp_path)
    (tmp_path / "0001_before_a.sql").write_text("SELECT 1")
    (tmp_path / "0003_after_b.sql").write_text("SELECT 1")
    with pytest.raises(AssertionError, match="out of order"):
        load_migrations()
    (tmp_path / "0003_after_b.sql").rename(tmp_path / "0002_sometime_b.sql")
    with pytest.raises(AssertionError, match="not named like a migration"):
        load_migrations()
