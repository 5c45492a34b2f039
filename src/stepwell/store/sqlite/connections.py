"""Connections to the database file, set up: one that writes, and readers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import apsw

from stepwell.errors import StoreError
from stepwell.store.sqlite.schema import check_version

if TYPE_CHECKING:
    from pathlib import Path

SYNCHRONOUS: Final = "FULL"
"""Sync the log in each commit: what is acknowledged survives a power cut."""

PAGE_BYTES: Final = 4096

CHECKPOINT_PAGES: Final = 2_000
"""Pages in the log at which a commit also moves them into the database file. At 1,000 to 4,000
pages such a commit takes 1 to 3 ms on a fast disk; fewer pages write hot pages more often."""

BUSY_TIMEOUT_MS: Final = 1_000
"""How long to wait when another program (a SQLite shell, a backup) holds the write lock."""

WRITER_CACHE_KIB: Final = 8_192  # New rows meet in few pages; the rest is the kernel's cache.
READER_CACHE_KIB: Final = 2_048
LOG_SPACE_CACHE_KIB: Final = 64

_log = logging.getLogger(__name__)


def open_writer(
    path: Path, *, vfs: str | None = None, checkpoint_pages: int = CHECKPOINT_PAGES
) -> apsw.Connection:
    """The one connection that writes; makes the file if it is missing.

    Raises:
        apsw.Error: It cannot be opened.
        StoreError: Another program or a newer Stepwell wrote it, or the file system cannot keep
            a write-ahead log.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        check_version(connection, path)  # before anything is written
        mode = connection.pragma("journal_mode", "WAL")
        if mode != "wal":
            raise StoreError(
                f"the file system of {path} cannot share memory between processes, which the "
                "write-ahead log needs; choose a local disk with --data-dir"
            )
        connection.pragma("synchronous", SYNCHRONOUS)
        connection.wal_autocheckpoint(checkpoint_pages)
        # The log's file is used again from its start, not cut to nothing; see `make_log_space`.
        # What a burst made it grow beyond twice a checkpoint is given back.
        connection.pragma("journal_size_limit", 2 * checkpoint_pages * PAGE_BYTES)
        connection.pragma("cache_size", -WRITER_CACHE_KIB)
        connection.pragma("temp_store", "MEMORY")
        connection.pragma("cell_size_check", True)  # find damage where it is, not in its wake
    except BaseException:
        connection.close()
        raise
    return connection


def make_log_space(
    connection: apsw.Connection, path: Path, *, checkpoint_pages: int = CHECKPOINT_PAGES
) -> None:
    """Have the log's file reach its usual size now, not page by page under the first commits.

    A commit of four pages into space that is there already takes 130 us on a fast disk, one that
    makes the file grow 280, because the file system then has to sync more than the data.
    A large row is written and taken back: its pages are in the log's file and nowhere else.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size >= checkpoint_pages * PAGE_BYTES:
        return
    connection.pragma("cache_size", -LOG_SPACE_CACHE_KIB)  # so the row does not stay in memory
    try:
        connection.execute(
            "BEGIN IMMEDIATE; CREATE TABLE log_space (filler BLOB); "
            f"INSERT INTO log_space VALUES (zeroblob({checkpoint_pages * PAGE_BYTES}))"
        )
    except (apsw.FullError, apsw.IOError, apsw.BusyError) as error:
        # A full disk, a quota, another program's lock: what is amiss shows when it matters.
        _log.warning("the log of %s has less room than usual: %s", path, error)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.pragma("cache_size", -WRITER_CACHE_KIB)


def open_reader(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """A connection that cannot write.

    Raises:
        apsw.Error: It cannot be opened.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)  # for the moment in which a log is recovered
        connection.pragma("cache_size", -READER_CACHE_KIB)
        connection.pragma("temp_store", "MEMORY")
        connection.pragma("cell_size_check", True)
    except BaseException:
        connection.close()
        raise
    return connection
