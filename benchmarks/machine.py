"""The machine, and how busy others kept it while we measured."""

from __future__ import annotations

import os
import platform
import resource
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE_COLUMNS = (3, 4)  # idle and waiting for the disk
_GUEST_COLUMNS = (8, 9)  # counted under user and nice already


def describe() -> str:
    """One line that tells this machine from another."""
    return (
        f"{os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}"
    )


def load_average() -> float:
    """Processes that ran or wanted to, on the average of the last minute."""
    return os.getloadavg()[0]


class OthersCpu:
    """Measures how many cores were used by anything but this program and its children.

    What a child used counts from its end on: ask when all of them have ended. The kernel's own
    threads are no others: much of what they do is writing what we wrote.
    """

    def __init__(self) -> None:
        self._begun_s = time.monotonic()
        self._begun = _others_s()

    def cores(self) -> float | None:
        """Since this object was made; None where the kernel does not tell."""
        if not _STAT.exists():
            return None
        return max(0.0, _others_s() - self._begun) / (time.monotonic() - self._begun_s)


def _others_s() -> float:
    return _busy_s() - _own_s() - _kernel_s()


def _busy_s() -> float:
    if not _STAT.exists():
        return 0.0
    ticks = [int(text) for text in _STAT.read_text().split("\n", 1)[0].split()[1:]]
    unwanted = (*_IDLE_COLUMNS, *_GUEST_COLUMNS)
    busy = sum(count for column, count in enumerate(ticks) if column not in unwanted)
    return busy / _TICKS


def _kernel_s() -> float:
    """What the kernel's threads have used: the children of its process number 2."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if fields[1] == "2":
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _own_s() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
