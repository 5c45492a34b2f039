"""Brings a database file's schema to this version, one numbered file after the other.

`migrations/0002_after_drop_old.sql` is version 2 and runs after a deploy. Each file says in its
head whether it runs before or after a deploy, and is safe to run twice. One process serves one
file, so here a deploy is a restart and all of them run, in order, when the store is opened; where
several nodes share a database, those marked `after` wait until no old node is left.

The version is the file's `user_version`, set in the transaction of its migration.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from stepwell.errors import StoreError
from stepwell.version import __version__

if TYPE_CHECKING:
    import apsw

MIGRATIONS_DIRECTORY: Final = Path(__file__).with_name("migrations")

APPLICATION_ID: Final = int.from_bytes(b"Step", "big")
"""Marks the file as ours, for `file(1)` and for us."""

_FILE_NAME = re.compile(r"(\d{4})_(before|after)_\w+\.sql")


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One step from version - 1 to version."""

    version: int
    when: Literal["before", "after"]
    sql: str


def load_migrations() -> list[Migration]:
    """All migrations in order; versions count from 1 without a gap."""
    found: list[Migration] = []
    for path in sorted(MIGRATIONS_DIRECTORY.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        assert match is not None, f"{path.name} is not named like a migration"
        assert int(match[1]) == len(found) + 1, f"{path.name} is out of order"
        found.append(
            Migration(
                version=int(match[1]),
                when="before" if match[2] == "before" else "after",
                sql=path.read_text(encoding="utf-8"),
            )
        )
    return found


def check_version(connection: apsw.Connection, path: Path) -> None:
    """Refuse a file that this version must not touch; only reads.

    Raises:
        StoreError: `store_too_new`, or it is no database of ours.
        apsw.Error: It cannot be read.
    """
    application_id = connection.pragma("application_id")
    version = connection.pragma("user_version")
    if application_id not in (0, APPLICATION_ID) or (version and application_id == 0):
        raise StoreError(
            f"{path} is a database of another program; choose another --data-dir",
        )
    newest = len(load_migrations())
    if version > newest:
        raise StoreError(
            f"{path} has schema version {version}, written by a newer Stepwell; this one "
            f"({__version__}) knows versions up to {newest}; install that newer version again, or "
            "choose another --data-dir",
            code="store_too_new",
        )


def migrate(connection: apsw.Connection) -> None:
    """Run what is missing, each migration in a transaction of its own.

    Raises:
        apsw.Error: A migration failed; those before it stay.
    """
    version = connection.pragma("user_version")
    for migration in load_migrations():
        if migration.version > version:
            with connection:
                connection.execute(migration.sql)
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", migration.version)
