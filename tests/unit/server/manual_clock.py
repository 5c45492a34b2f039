"""A clock that a test moves: the gateway's timers without waiting."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ManualTimer:
    """One call that has not come yet."""

    def __init__(self, at_ms: int, number: int, callback: Callable[[], None]) -> None:
        self.due = (at_ms, number)
        self._callback: Callable[[], None] | None = callback

    @property
    def cancelled(self) -> bool:
        return self._callback is None

    def cancel(self) -> None:
        self._callback = None  # as event loops do, so that nothing is kept alive

    def call(self) -> None:
        if self._callback is not None:
            self._callback()


class ManualClock:
    """Stands still until `advance`, which makes all calls that fall due, in order."""

    def __init__(self, now_ms: int = 1_000_000) -> None:
        self._now_ms = now_ms
        self._numbers = itertools.count()
        self._timers: list[ManualTimer] = []

    def now_ms(self) -> int:
        return self._now_ms

    def call_at(self, at_ms: int, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(at_ms, next(self._numbers), callback)
        self._timers.append(timer)
        return timer

    def advance(self, ms: int) -> None:
        until_ms = self._now_ms + ms
        while True:
            self._timers = [timer for timer in self._timers if not timer.cancelled]
            timer = min(self._timers, key=lambda timer: timer.due, default=None)
            if timer is None or timer.due[0] > until_ms:
                break
            self._timers.remove(timer)
            self._now_ms = max(self._now_ms, timer.due[0])
            timer.call()
        self._now_ms = until_ms

    @property
    def waiting(self) -> int:
        """Calls that have not come and were not cancelled."""
        return sum(not timer.cancelled for timer in self._timers)
