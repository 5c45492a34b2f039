"""A disk that loses power: a SQLite VFS whose writes count only once they are synced.

What was not synced when the power went may be on the disk all the same, in part: any subset of
512-byte sectors of the writes, truncations, new names and deletions since the last sync. What was
synced is there. Nothing that a write did not touch is harmed (SQLite assumes as much of a disk:
"powersafe overwrite").

Locks and the shared memory of the log go to empty files in a real directory; the rest is in memory.
The same disk can fail in other ways too: see `fail`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import apsw

if TYPE_CHECKING:
    import random

    from typing_extensions import Buffer

SECTOR_BYTES = 512

Image: TypeAlias = "dict[str, bytes]"
"""What is on a disk: the bytes of each file by its path."""

_Change: TypeAlias = "tuple[int, bytes | None]"  # (offset, data); data None: cut to `offset` bytes


class File:
    """One file, as a running machine sees it and as it will be after a cut.

    `is_named` says whether its name is on the disk: only a sync of the directory puts it there.
    """

    def __init__(self, durable: bytes = b"", *, is_named: bool) -> None:
        self.current = bytearray(durable)
        self.durable = bytearray(durable)
        self.is_named = is_named
        self.unsynced: list[_Change] = []

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.current, offset, data)
        self.unsynced.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.unsynced:
            _apply(self.durable, offset, data)
        self.unsynced.clear()

    def after_cut(self, survives: random.Random | None) -> bytes | None:
        """The file's bytes after a cut; None if it is not there.

        Args:
            survives: Decides which of the unsynced changes are on the disk; None: not one.
        """
        if not self.is_named and (survives is None or survives.random() < 0.5):
            return None
        found = bytearray(self.durable)
        if survives is not None:
            share = survives.choice((0.1, 0.5, 0.9, 1.0))
            for change in self.unsynced:
                for offset, data in _sectors(*change):
                    if survives.random() < share:
                        _apply(found, offset, data)
        return bytes(found)


class Disk(apsw.VFS):
    """The VFS. Register it by making it; give its `name` to the store.

    Args:
        name: Unique among registered ones.
        cut_at: The power goes at this call that changes or syncs something, counted from 1; the
            call itself may have done part of its work. None: never.

    Attributes:
        trace: The calls so far that change or sync something, as (method, kind of file).
        is_off: Whether the power is gone. Everything fails from then on.
    """

    def __init__(self, name: str, *, image: Image | None = None, cut_at: int | None = None) -> None:
        super().__init__(name, "")
        self.name = name
        self.cut_at = cut_at
        self.files = {path: File(data, is_named=True) for path, data in (image or {}).items()}
        self.deleted: dict[str, File] = {}  # their names come back unless the directory is synced
        self.trace: list[tuple[str, str]] = []
        self.is_off = False
        self._failures: dict[tuple[str, str], tuple[int, int]] = {}

    def fail(self, method: str, kind: str, *, code: int, after: int = 0) -> None:
        """Let calls of a method on a kind of file fail with a SQLite code, until `mend`.

        `after` of them go well before.
        """
        self._failures[method, kind] = (code, after)

    def mend(self) -> None:
        """Nothing fails any more."""
        self._failures.clear()

    def after_cut(self, survives: random.Random | None) -> Image:
        """What is on the disk when the power comes back."""
        found = {path: file.after_cut(survives) for path, file in self.files.items()}
        for path, file in self.deleted.items():
            if found.get(path) is None and (survives is None or survives.random() < 0.5):
                found[path] = file.after_cut(survives)
        return {path: data for path, data in found.items() if data is not None}

    def sync_directory(self) -> None:
        """All names that were made or deleted are on the disk as they are now."""
        for file in self.files.values():
            file.is_named = True
        self.deleted.clear()

    def enter(self, method: str, path: str, *, cuts: bool = True) -> bool:
        """Count a call. True if the power goes during it.

        Raises:
            apsw.Error: The power is gone, or a failure was ordered.
        """
        kind = _kind(path)
        if self.is_off:
            raise apsw.exception_for(apsw.SQLITE_IOERR)
        code, after = self._failures.get((method, kind), (apsw.SQLITE_OK, 0))
        if code != apsw.SQLITE_OK:
            if after == 0:
                raise apsw.exception_for(code)
            self._failures[method, kind] = (code, after - 1)
        if not cuts:
            return False
        self.trace.append((method, kind))
        self.is_off = len(self.trace) == self.cut_at
        return self.is_off

    # --- what SQLite calls ---

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        assert name is not None, "temporary files are kept in memory"
        path = name if isinstance(name, str) else name.filename()
        is_new = path not in self.files
        if is_new:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.exception_for(apsw.SQLITE_CANTOPEN)
            if self.enter("open", path):
                raise apsw.exception_for(apsw.SQLITE_IOERR)
            self.files[path] = File(is_named=False)
        return _OpenFile(self, name, flags, path, is_new=is_new)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        goes_off = self.enter("delete", filename)
        file = self.files.pop(filename, None)
        if file is not None and file.is_named:
            self.deleted[filename] = file
        if goes_off:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE)
        if syncdir:
            self.sync_directory()
        Path(filename).unlink(missing_ok=True)

    def xAccess(self, pathname: str, flags: int) -> bool:
        file = self.files.get(pathname)
        return file is not None and len(file.current) > 0


class _OpenFile(apsw.VFSFile):
    """Inherits locks and shared memory."""

    def __init__(
        self,
        disk: Disk,
        name: str | apsw.URIFilename,
        flags: list[int],
        path: str,
        *,
        is_new: bool,
    ) -> None:
        # The real file is for locks; the disk's own may be there when the real one is not yet.
        Path(path).touch()
        super().__init__("", name, flags)
        self._disk = disk
        self._path = path
        self._file = disk.files[path]
        # As on Unix: the first sync of a new log or journal syncs the directory, too.
        self._syncs_directory = is_new and _kind(path) != "db"

    def xRead(self, amount: int, offset: int) -> bytes:
        self._disk.enter("read", self._path, cuts=False)
        return bytes(self._file.current[offset : offset + amount])

    def xWrite(self, data: Buffer, offset: int) -> None:
        goes_off = self._disk.enter("write", self._path)
        self._file.change(offset, bytes(data))
        if goes_off:
            raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)

    def xTruncate(self, newsize: int) -> None:
        goes_off = self._disk.enter("truncate", self._path)
        self._file.change(newsize, None)
        if goes_off:
            raise apsw.exception_for(apsw.SQLITE_IOERR_TRUNCATE)

    def xSync(self, flags: int) -> None:
        if self._disk.enter("sync", self._path):
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        self._file.sync()
        if self._syncs_directory:
            self._disk.sync_directory()
            self._syncs_directory = False

    def xFileSize(self) -> int:
        return len(self._file.current)


def _kind(path: str) -> str:
    """`db`, `wal` or `journal`."""
    for suffix in ("wal", "journal"):
        if path.endswith("-" + suffix):
            return suffix
    return "db"


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _sectors(offset: int, data: bytes | None) -> list[_Change]:
    """A change in the parts that reach the disk or do not, each by itself."""
    if data is None:
        return [(offset, None)]
    parts: list[_Change] = []
    begin = 0
    while begin < len(data):
        end = min(len(data), begin + SECTOR_BYTES - (offset + begin) % SECTOR_BYTES)
        parts.append((offset + begin, data[begin:end]))
        begin = end
    return parts
