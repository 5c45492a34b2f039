"""How long to wait before the next attempt to connect: jitter under a growing limit."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from stepwell.connect.reconnect import ReconnectPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

STABLE_MS = 5_000
"""A connection that held for so long was a good one: the next loss starts from the beginning."""


class Backoff:
    """The state of one chain of attempts.

    Args:
        draw: Gives a number between its arguments.
    """

    def __init__(
        self,
        policy: ReconnectPolicy | None = None,
        *,
        draw: Callable[[float, float], float] = lambda least, most: random.uniform(least, most),
    ) -> None:
        policy = policy or ReconnectPolicy()
        self._base_ms = policy.base_ms
        self._cap_ms = policy.cap_ms
        self._part = policy.jitter_part
        self._draw = draw
        self._attempts = 0

    def next_delay_ms(self, *, at_once: bool = False) -> int:
        """How long to wait now.

        Args:
            at_once: The gateway sent us away in good order. It counts as an attempt all the same,
                so that a gateway that sends everybody away does not keep us spinning.
        """
        attempts, self._attempts = self._attempts, self._attempts + 1
        if at_once and attempts == 0:
            return 0
        most_ms = min(self._cap_ms, self._base_ms * 2 ** min(attempts, 20))
        return int(self._draw(most_ms * (1 - self._part), most_ms))

    def ended(self, held_ms: int) -> None:
        """A connection has ended after so long."""
        if held_ms >= STABLE_MS:
            self._attempts = 0
