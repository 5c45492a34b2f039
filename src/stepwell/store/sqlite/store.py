"""The store in one SQLite file: one connection that writes, read-only ones beside it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

import apsw

from stepwell.store.sqlite.connections import (
    BUSY_TIMEOUT_MS,
    CHECKPOINT_PAGES,
    make_log_space,
    open_reader,
    open_writer,
)
from stepwell.store.sqlite.directory import DataDirectory
from stepwell.store.sqlite.failures import store_error
from stepwell.store.sqlite.loads import Loads
from stepwell.store.sqlite.reader import SqliteReader
from stepwell.store.sqlite.schema import migrate
from stepwell.store.sqlite.writes import COMMIT_SQL, Writes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stepwell.engine.rows import Write

DATABASE_FILE: Final = "stepwell.db"

_BEGIN = COMMIT_SQL["begin"]
_COMMIT = COMMIT_SQL["commit"]
_ROLLBACK = COMMIT_SQL["rollback"]
_DELETE_EXPIRED_DEDUPS = COMMIT_SQL["delete_expired_dedups"]


class SqliteStore(Loads):
    """A store on disk. See `interface.Store` for what each method promises.

    Args:
        directory: Made if it is missing, and held against other servers until `close`.
        vfs: The name of a registered SQLite VFS; None for the file system.
        checkpoint_pages: See `connections.CHECKPOINT_PAGES`.

    Raises:
        Fenced: Another server holds the directory.
        StoreError: The directory or the database cannot be used; `store_too_new` if a newer
            Stepwell wrote it, `store_corrupt` if it is damaged.
    """

    def __init__(
        self, directory: Path, *, vfs: str | None = None, checkpoint_pages: int = CHECKPOINT_PAGES
    ) -> None:
        path = directory / DATABASE_FILE
        self._vfs = vfs
        self._directory = DataDirectory(directory)
        try:
            connection = _open(path, vfs, checkpoint_pages)
        except BaseException:
            self._directory.release()
            raise
        super().__init__(connection, path)
        self._execute = connection.cursor().execute
        self._writes = Writes(connection)
        self._readers: weakref.WeakSet[SqliteReader] = weakref.WeakSet()
        self._log_in_use = True  # of what a former process left in it, nothing is known

    def commit(self, writes: Sequence[Write]) -> None:
        if not writes:
            return
        execute = self._execute
        try:
            execute(_BEGIN)
            self._writes.apply(writes)
            execute(_COMMIT)
        except apsw.ConstraintError as error:
            self._roll_back()
            raise AssertionError(f"a row was put that is there already: {error}") from error
        except apsw.Error as error:
            self._roll_back()
            raise store_error(error, self._path) from error
        except BaseException:
            self._roll_back()
            raise
        self._log_in_use = True

    def delete_expired_dedups(self, *, now_ms: int, limit: int) -> int:
        try:
            self._execute(_DELETE_EXPIRED_DEDUPS, (now_ms, limit))
            deleted = self._connection.changes()
        except apsw.Error as error:
            self._roll_back()
            raise store_error(error, self._path) from error
        self._log_in_use = self._log_in_use or deleted > 0
        return deleted

    def reader(self) -> SqliteReader:
        try:
            reader = SqliteReader(open_reader(self._path, vfs=self._vfs), self._path)
        except apsw.Error as error:
            raise store_error(error, self._path) from error
        self._readers.add(reader)
        return reader

    def idle(self) -> None:
        """Empty the log into the database file, and let the next commit begin it anew."""
        if not self._log_in_use:
            return
        connection = self._connection
        try:
            connection.set_busy_timeout(0)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
            self._log_in_use = False
        except apsw.BusyError:
            return  # somebody reads an older state; there will be another quiet moment
        except apsw.Error as error:
            raise store_error(error, self._path) from error
        finally:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)

    def close(self) -> None:
        try:
            for reader in list(self._readers):
                reader.close()
            # The last connection empties the log and deletes it. If the disk refuses that, the
            # log is read when the store is opened again: no reason to raise.
            self._connection.close(force=True)
        finally:
            self._directory.release()

    def _roll_back(self) -> None:
        """End the transaction, if the failure has not ended it."""
        if self._connection.in_transaction:
            self._execute(_ROLLBACK)
        self._writes.rolled_back()


def _open(path: Path, vfs: str | None, checkpoint_pages: int) -> apsw.Connection:
    """The writing connection, with the schema of this version."""
    try:
        connection = open_writer(path, vfs=vfs, checkpoint_pages=checkpoint_pages)
        try:
            migrate(connection)
            make_log_space(connection, path, checkpoint_pages=checkpoint_pages)
        except BaseException:
            connection.close()
            raise
    except apsw.Error as error:
        raise store_error(error, path) from error
    return connection
