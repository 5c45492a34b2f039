"""One server per data directory: a lock file, held for as long as the process has it open.

The kernel lets go of the lock when the process ends, however it ends, so a crash leaves none
behind. The file itself stays: were it deleted, two servers could each lock a file of that name.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from stepwell.errors import Fenced, StoreError

if TYPE_CHECKING:
    from pathlib import Path

LOCK_FILE = "lock"


class DataDirectory:
    """A data directory that this process holds until `release`. Made if need be, mode 0700.

    Raises:
        Fenced: Another server holds it.
        StoreError: It cannot be made, opened or locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _make(path)
            self._descriptor: int | None = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            self.release()
            raise Fenced(
                f"another Stepwell server (process {holder or 'unknown'}) uses the data directory "
                f"{path}; stop it, or give this one a directory of its own with --data-dir"
            ) from error
        except OSError as error:
            self.release()
            raise _unusable(path, error) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)  # for the message above

    def release(self) -> None:
        """Let others have it. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _make(path: Path) -> None:
    """Make the directory and its parents; their names are on disk when this returns."""
    path = path.absolute()
    missing = [part for part in (path, *path.parents) if not part.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for part in missing:
        descriptor = os.open(part.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unusable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot use the data directory {path}: {error.strerror}; make it writable or choose "
        "another with --data-dir"
    )
