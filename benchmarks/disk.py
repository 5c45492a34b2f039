"""How long the disk takes to keep something, which every durable figure stands on."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from benchmarks.processes import scratch
from benchmarks.samples import quantile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BLOCK_BYTES = 4096
FILE_BLOCKS = 256
LOOK_S = 0.2


def sync_us() -> float:
    """The median time of a synced write, from a short look."""
    with scratch() as folder:
        durations_s, _took_s = fdatasyncs(folder / "file", LOOK_S)
    return 1e6 * quantile(durations_s, 0.5)


def fdatasyncs(path: Path, seconds: float) -> tuple[list[float], float]:
    """`timed` synced writes into a file that has its size already, like a log that is reused."""
    block = os.urandom(BLOCK_BYTES)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, block * FILE_BLOCKS, 0)
        os.fsync(descriptor)
        at = 0

        def one() -> None:
            nonlocal at
            os.pwrite(descriptor, block, at % FILE_BLOCKS * BLOCK_BYTES)
            os.fdatasync(descriptor)
            at += 1

        return timed(one, seconds)
    finally:
        os.close(descriptor)


def timed(act: Callable[[], None], seconds: float) -> tuple[list[float], float]:
    """Durations of what is done over and over, and how long all of it took."""
    durations_s = []
    begun = last = time.perf_counter()
    while last - begun < seconds:
        act()
        now = time.perf_counter()
        durations_s.append(now - last)
        last = now
    return durations_s, last - begun
