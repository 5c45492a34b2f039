"""Noticing that the program's event loop is blocked.

Blocking code in an async function stops every other async function of the worker, and nothing
fails: the protocol has a thread of its own, so leases are kept. That thread asks the loop for a
sign of life now and then, while calls run.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

CHECKS = 5  # How many checks in a row a loop fails before it counts as blocked.

_log = logging.getLogger("stepwell.connect")


class Watched(Protocol):
    """Calls on the program's loop, as seen from the protocol's thread."""

    thread_id: int | None

    def is_busy(self) -> bool: ...
    def ask(self, callback: Callable[[], None], /) -> object: ...
    def suspect(self) -> str: ...


class LoopWatch:
    """Watches the loop that async functions run on, from the protocol's loop.

    Checks are counted rather than time measured, so that a process that was stopped and goes on
    is not taken for a blocked one.

    Args:
        watched: The calls on that loop; it is left alone while there are none.
        blocked_after_ms: After how long without an answer there is a warning.
    """

    def __init__(self, watched: Watched, *, blocked_after_ms: int) -> None:
        self._watched = watched
        self._blocked_after_ms = blocked_after_ms
        self._missed = 0
        self._asked = False

    @property
    def blocked_ms(self) -> int:
        """For how long the loop has been blocked; 0 if it answers, or not long enough is known."""
        if not self._asked or self._missed < CHECKS:
            return 0
        return self._missed * self._blocked_after_ms // CHECKS

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(self._blocked_after_ms / CHECKS / 1000)
            self.check()

    def check(self) -> None:
        """Take note of the loop's answer, and ask again."""
        if self._asked:
            self._missed += 1
            if self._missed == CHECKS:
                _log.warning(
                    "the event loop has been blocked for %g s, probably by %s; use "
                    "asyncio.to_thread or a sync function\n%s",
                    self._blocked_after_ms / 1000,
                    self._watched.suspect(),
                    _where(self._watched.thread_id),
                )
        elif self._watched.is_busy():
            self._missed = 0
            self._asked = True
            self._watched.ask(self._answer)

    def _answer(self) -> None:
        self._asked = False


def _where(thread_id: int | None) -> str:
    """The stack of a thread, as far out as the program's own frames go."""
    frame = sys._current_frames().get(thread_id or 0)
    frames: list[tuple[FrameType, int]] = []
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(("asyncio.", "stepwell.")):
            break
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    stack = traceback.StackSummary.extract(reversed(frames))
    return "".join(stack.format()).rstrip()
