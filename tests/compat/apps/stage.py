"""What an app of the tests is told, what it leaves behind, and what it waits for.

The app runs in an environment of its own, so that this knows nothing but the standard library.
"""

import asyncio
import json
import os
import time
from pathlib import Path

APP = os.environ["STAGE_APP"]
"""The app's id, also the beginning of its events' names: many apps share a server."""

INSTANCE = os.environ["STAGE_INSTANCE"]

_DIRECTORY = Path(os.environ["STAGE_DIRECTORY"])
_POLL_S = 0.01


def ran(name: str, **facts: object) -> None:
    """Note that a piece of code ran; the test reads it."""
    line = json.dumps({"name": name, "pid": os.getpid(), "at": time.time(), **facts}) + "\n"
    file = os.open(_DIRECTORY / "ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())  # in one piece, whoever else writes
    finally:
        os.close(file)


async def gate(name: str) -> None:
    """Note that this point was reached, and wait until the test opens it."""
    ran(f"gate {name}")
    opened = _DIRECTORY / f"{name}.open"
    while not opened.exists():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(_POLL_S)


def gate_sync(name: str) -> None:
    """The same in code that is not async."""
    ran(f"gate {name}")
    opened = _DIRECTORY / f"{name}.open"
    while not opened.exists():
        time.sleep(_POLL_S)
