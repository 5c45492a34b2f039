"""Noticing that Python code below the working directory has changed.

By looking at the files' times again and again: it needs no package, works on every file system, and
a development tree has hundreds of files, which take milliseconds. The pauses grow with the time
that a look takes, so a large tree costs no more than a tenth of a core.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PAUSE_S = 0.25
PAUSE_PER_LOOK = 10
SETTLED_S = 0.05  # An editor that writes several files is given this long after each of them.

_NOT_CODE = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})

_Times: TypeAlias = dict[str, tuple[int, int]]


async def changes(below: Path, stopping: asyncio.Event) -> AsyncIterator[str]:
    """What has changed, in words, each time that something has."""
    seen, pause_s = await _look(below)
    while not await within(stopping, pause_s):
        now, pause_s = await _look(below)
        if now == seen:
            continue
        while not await within(stopping, SETTLED_S):  # until nothing changes any more
            before, (now, _) = now, await _look(below)
            if now == before:
                break
        changed = sorted(
            path for path in seen.keys() | now.keys() if seen.get(path) != now.get(path)
        )
        seen = now
        if changed:
            first = changed[0].removeprefix(str(below)).lstrip(os.sep)
            yield first if len(changed) == 1 else f"{first} and {len(changed) - 1} more"


async def _look(below: Path) -> tuple[_Times, float]:
    """The files, and how long to wait before the next look."""
    started_s = time.monotonic()
    times = await asyncio.to_thread(lambda: dict(code_below(str(below))))
    return times, max(PAUSE_S, PAUSE_PER_LOOK * (time.monotonic() - started_s))


def code_below(folder: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Each file of code below, with its time and size."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # it was removed meanwhile, or may not be read
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _NOT_CODE and not entry.name.startswith("."):
                    yield from code_below(entry.path)
            elif entry.name.endswith(".py"):
                status = entry.stat()
                yield entry.path, (status.st_mtime_ns, status.st_size)
        except OSError:  # the same
            continue


async def within(stopping: asyncio.Event, seconds: float) -> bool:
    """Whether it is set within so long."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return False
    return True
