"""SQL in files: each statement is explained, used, valid, and finds what it needs by an index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

import stepwell.store.sqlite
from stepwell.store.sqlite.schema import migrate
from stepwell.store.sqlite.statements import SQL_DIRECTORY, load_statements

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.store

SOURCES = Path(stepwell.store.sqlite.__file__).parent
FILES = sorted(path.name for path in SQL_DIRECTORY.glob("*.sql"))
STATEMENTS = [(file, name) for file in FILES for name in load_statements(file)]

# What reads a whole table or index, and why that is little or cannot be avoided.
SCANS = {
    ("read.sql", "open_workers"): "its index has what is open, and the limit ends it",
    ("load.sql", "apps"): "the catalog is small",
    ("load.sql", "functions"): "the catalog is small",
    ("load.sql", "count_stranded"): "its index is empty",
    ("load.sql", "schedules"): "there are as few as functions",
    ("load.sql", "transports"): "there are two to an app at most",
    ("load.sql", "routes"): "there are as few as functions",
    (
        "read.sql",
        "count_live",
    ): "counts what is live, page by page: for a metric, not for each request",
    ("read.sql", "quarantined"): "newest first by number, and the limit ends it",
}
# What is sorted in memory: the steps of one run, whose key is their id; at most a few thousand.
SORTS = {("load.sql", "step_refs"), ("read.sql", "steps")}


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    migrate(connection)
    yield connection
    connection.close()


def plan_of(connection: apsw.Connection, file: str, name: str) -> list[str]:
    """How SQLite carries out a statement."""
    sql = load_statements(file)[name]
    values = [None] * max((int(number) for number in re.findall(r"\?(\d+)", sql)), default=0)
    return [str(row[3]) for row in connection.execute("EXPLAIN QUERY PLAN " + sql, values)]


def test_there_are_statements() -> None:
    assert FILES == ["commit.sql", "load.sql", "read.sql"]
    assert len(STATEMENTS) > 30


@pytest.mark.parametrize("file", FILES)
def test_each_statement_is_found_with_its_sentence(file: str) -> None:
    text = (SQL_DIRECTORY / file).read_text()
    names = re.findall(r"^-- name: (\w+)$", text, re.MULTILINE)
    assert names == list(load_statements(file))
    sentences = re.findall(r"^-- name: \w+\n((?:-- .*\n)+)", text, re.MULTILINE)
    assert all(sentence.rstrip().endswith(".") for sentence in sentences)


def test_each_statement_is_used() -> None:
    sources = "\n".join(path.read_text() for path in SOURCES.glob("*.py"))
    unused = [name for _file, name in STATEMENTS if f'"{name}"' not in sources]
    assert unused == []


@pytest.mark.parametrize(("file", "name"), STATEMENTS)
def test_statement_finds_its_rows_by_a_key(
    connection: apsw.Connection, file: str, name: str
) -> None:
    plan = plan_of(connection, file, name)
    # A recursive or nested statement "scans" what it found itself; the rest must be searches.
    own = ("SCAN found", "SCAN (subquery", "SCAN CONSTANT ROW")
    scans = [line for line in plan if line.startswith("SCAN") and not line.startswith(own)]
    if (file, name) in SCANS:
        assert scans, f"{name} is no scan any more; take it off the list"
    else:
        assert scans == []
    sorts = [line for line in plan if "TEMP B-TREE" in line]
    if (file, name) in SORTS:
        assert sorts, f"{name} is not sorted any more; take it off the list"
    else:
        assert sorts == []


@pytest.mark.parametrize(
    ("file", "name", "index"),
    [
        ("read.sql", "events_named", "event_by_name"),
        ("read.sql", "run_ids_newest", "run_by_status"),
        ("read.sql", "run_ids_oldest", "run_by_status"),
        ("read.sql", "run_functions", "run_by_status"),
        ("load.sql", "queued_runs", "live_queued"),
        ("load.sql", "queued_functions", "live_queued"),
        ("load.sql", "due_runs", "live_due"),
        ("load.sql", "next_wake", "live_due"),
        ("load.sql", "count_stranded", "live_stranded"),
        ("commit.sql", "delete_expired_dedups", "dedup_by_expiry"),
        ("commit.sql", "worker_cut", "worker_ended"),
        ("commit.sql", "trim_workers", "worker_ended"),
        ("read.sql", "ended_workers_of_instance", "worker_by_instance"),
        ("read.sql", "open_workers", "worker_open"),
    ],
)
def test_statement_uses_its_index(
    connection: apsw.Connection, file: str, name: str, index: str
) -> None:
    assert index in " ".join(plan_of(connection, file, name))


def test_each_index_is_used_by_some_statement(connection: apsw.Connection) -> None:
    plans = " ".join(line for file, name in STATEMENTS for line in plan_of(connection, file, name))
    indexes = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    assert len(indexes) == 9
    assert [name for (name,) in indexes if str(name) not in plans] == []
