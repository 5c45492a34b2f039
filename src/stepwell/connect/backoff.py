"""How long to wait before the next attempt to connect: full jitter under a growing limit."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_MS = 250
CAP_MS = 30_000
STABLE_MS = 5_000
"""A connection that held for so long was a good one: the next loss starts from the beginning."""


class Backoff:
    """The state of one chain of attempts.

    Args:
        draw: Gives a number from 0 to its argument.
    """

    def __init__(
        self, draw: Callable[[float], float] = lambda most: random.uniform(0, most)
    ) -> None:
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
        most_ms = min(CAP_MS, BASE_MS * 2 ** min(attempts, 20))
        return int(self._draw(most_ms))

    def ended(self, held_ms: int) -> None:
        """A connection has ended after so long."""
        if held_ms >= STABLE_MS:
            self._attempts = 0
