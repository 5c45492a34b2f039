"""The disk itself: lets syncs and writes of this process's databases go wrong, as ordered."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import TYPE_CHECKING

import apsw

from tests.faulty_disk.orders import Orders, Report
from tests.faulty_disk.sqlite_files import (
    File,
    IoMethods,
    Open,
    Sync,
    Write,
    address_of,
    default_vfs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MEANT = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL

_WRITE_CODES = {"full": apsw.SQLITE_FULL, "readonly": apsw.SQLITE_READONLY}
_SYNC_CODES = {"fsync": apsw.SQLITE_IOERR_FSYNC}


class Disk:
    """Every database that this process opens from now on, with its log.

    A stall sleeps without the interpreter's lock, as the real sync waits. As long as nothing is
    ordered, no call of SQLite comes by here but the opening of a file.

    Args:
        clock: Seconds.
        sleep: Stalls for some seconds.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._orders = Orders()
        self._stalled_at_s = float("-inf")
        self._stalls_since_order = 0
        self._stalls = 0
        self._stalling = 0
        self._refusals = 0
        self._tables: dict[int, _Table] = {}  # by the address of the table they are copies of
        self._lock = threading.Lock()  # files are opened in several threads
        self._vfs = default_vfs()
        self._real_open_address = self._vfs.xOpen
        self._real_open = Open(self._vfs.xOpen)
        self._open_callback = Open(self._open)
        self._vfs.xOpen = address_of(self._open_callback)

    def obey(self, orders: Orders) -> None:
        """Let these orders take the place of the former ones; files that are open obey too."""
        with self._lock:
            self._orders = orders
            self._stalled_at_s = float("-inf")
            self._stalls_since_order = 0
            for table in self._tables.values():
                table.obey(orders)

    def report(self) -> Report:
        return Report(stalls=self._stalls, is_stalling=self._stalling > 0, refusals=self._refusals)

    def remove(self) -> None:
        """Files are opened as ever. Keep this object until those opened before are closed."""
        self.obey(Orders())
        self._vfs.xOpen = self._real_open_address

    # --- what SQLite calls; nothing may be raised ---

    def _open(
        self,
        vfs: int | None,
        name: int | None,
        file_address: int,
        flags: int,
        flags_out: int | None,
    ) -> int:
        code: int = self._real_open(vfs, name, file_address, flags, flags_out)
        file = File.from_address(file_address)
        if code != apsw.SQLITE_OK or not flags & _MEANT or not file.pMethods:
            return code
        with self._lock:
            table = self._tables.get(file.pMethods)
            if table is None:
                table = self._tables[file.pMethods] = _Table(file.pMethods, self)
                table.obey(self._orders)
        file.pMethods = ctypes.addressof(table.methods)
        return code

    def stall(self) -> None:
        """Let a sync take as long as ordered."""
        orders, now_s = self._orders, self._clock()
        if (
            not orders.stall_ms
            or now_s - self._stalled_at_s < orders.every_ms / 1000
            or self._stalls_since_order == orders.stalls_max
        ):
            return
        self._stalled_at_s = now_s
        self._stalls_since_order += 1
        self._stalls += 1
        self._stalling += 1
        self._sleep(orders.stall_ms / 1000)
        self._stalling -= 1

    def refusal(self, codes: Mapping[str, int]) -> int | None:
        """The code of `codes` with which a call fails, if it does."""
        code = codes.get(self._orders.refuses or "")
        self._refusals += code is not None
        return code


class _Table:
    """A table of methods for the files that had the one at `original`."""

    def __init__(self, original: int, disk: Disk) -> None:
        self.methods = IoMethods.from_buffer_copy(IoMethods.from_address(original))
        self._disk = disk
        self._real_write = self.methods.xWrite
        self._real_sync = self.methods.xSync
        self._call_write = Write(self._real_write)
        self._call_sync = Sync(self._real_sync)
        self._write_callback = Write(self._write)
        self._sync_callback = Sync(self._sync)

    def obey(self, orders: Orders) -> None:
        refuses_writes = orders.refuses in _WRITE_CODES
        touches_syncs = orders.stall_ms > 0 or orders.refuses in _SYNC_CODES
        self.methods.xWrite = (
            address_of(self._write_callback) if refuses_writes else self._real_write
        )
        self.methods.xSync = address_of(self._sync_callback) if touches_syncs else self._real_sync

    def _write(self, file: int, data: int | None, length: int, offset: int) -> int:
        refusal = self._disk.refusal(_WRITE_CODES)
        if refusal is not None:
            return refusal
        code: int = self._call_write(file, data, length, offset)  # the orders have just changed
        return code

    def _sync(self, file: int, flags: int) -> int:
        self._disk.stall()
        refusal = self._disk.refusal(_SYNC_CODES)
        if refusal is not None:
            return refusal
        code: int = self._call_sync(file, flags)
        return code
