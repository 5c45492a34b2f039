"""The gateway's clock: it never goes back, and it calls at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A call that has not come yet."""

    def cancel(self) -> None:
        """Do not call. Harmless after the call."""
        ...


class Clock(Protocol):
    """Milliseconds since some moment, and calls at a given one."""

    def now_ms(self) -> int: ...

    def call_at(self, at_ms: int, callback: Callable[[], None]) -> Timer:
        """Call once when `now_ms()` is at least `at_ms`, from the event loop."""
        ...


class LoopClock:
    """The clock of the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time

    def now_ms(self) -> int:
        return int(self._time() * 1000)

    def call_at(self, at_ms: int, callback: Callable[[], None]) -> Timer:
        # One millisecond later than asked: the loop may round down, and a call too early would
        # find that nothing is due.
        return self._loop.call_at((at_ms + 1) / 1000, callback)
