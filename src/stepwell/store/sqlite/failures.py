"""What SQLite says went wrong, in the words of `stepwell.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from stepwell.errors import Retryable, StoreError

if TYPE_CHECKING:
    from pathlib import Path

_REFUSED = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.NoMemError,
)
"""The disk, the kernel or another process said no; the data is as it was."""

_DAMAGED = (apsw.CorruptError, apsw.NotADBError)


def store_error(error: apsw.Error, path: Path) -> StoreError:
    """The error to raise, `from` the given one, about the database file at `path`."""
    if isinstance(error, _DAMAGED) or _says_corrupt(error):
        return StoreError(
            f"the database {path} is damaged ({error}); restore the data directory from a backup, "
            "or start with an empty one",
            code="store_corrupt",
        )
    if isinstance(error, apsw.FullError):
        return Retryable(f"the disk of {path} is full; nothing was stored; free some space")
    if isinstance(error, apsw.ReadOnlyError):
        return Retryable(
            f"{path} cannot be written; nothing was stored; see whether its file system has become "
            "read-only"
        )
    if isinstance(error, apsw.BusyError):
        return Retryable(
            f"another program has locked {path}; nothing was stored; close that program"
        )
    if isinstance(error, apsw.CantOpenError):
        return Retryable(
            f"{path} cannot be opened; nothing was stored; see that this user may write it and its "
            "directory, and that the process may open more files"
        )
    if isinstance(error, _REFUSED):
        return Retryable(f"the disk of {path} failed ({error}); nothing was stored; check the disk")
    return StoreError(f"the database {path} cannot be used: {error}")


def _says_corrupt(error: apsw.Error) -> bool:
    """A file system that finds itself damaged says so by way of an I/O error."""
    return getattr(error, "extendedresult", 0) in (
        apsw.SQLITE_IOERR_CORRUPTFS,
        apsw.SQLITE_IOERR_DATA,
    )
