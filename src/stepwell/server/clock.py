"""The server's clock: wall time in milliseconds that never goes back and never stands still.

It runs with the system's monotonic clock and follows the wall clock forward only. After the wall
clock was set back it stays ahead, until a restart after the wall clock has caught up.
"""

from __future__ import annotations

import logging
import time

_log = logging.getLogger(__name__)

JUMP_MS = 60_000
"""A jump of more is logged."""

SLEW_MS = 1_000
"""A smaller step forward is the clock being adjusted."""


class SystemClock:
    """Reads both clocks. A jump of over a minute between them is logged."""

    def __init__(self) -> None:
        self._lead_ms = _wall_ms() - _monotonic_ms()
        self._seen_lead_ms = self._lead_ms
        self._jumped_ms = 0

    def now_ms(self) -> int:
        """The time, at least that of the call before."""
        monotonic_ms = _monotonic_ms()
        lead_ms = _wall_ms() - monotonic_ms
        if lead_ms > self._lead_ms:
            if lead_ms - self._lead_ms > SLEW_MS:
                self._jumped_ms += lead_ms - self._lead_ms
            self._lead_ms = lead_ms
        if abs(lead_ms - self._seen_lead_ms) > JUMP_MS:
            _log.warning(
                "the system's clock jumped", extra={"jump_ms": lead_ms - self._seen_lead_ms}
            )
            self._seen_lead_ms = lead_ms
        return monotonic_ms + self._lead_ms

    def take_jump_ms(self) -> int:
        """How far the clock jumped forward since this was asked last; 0 as a rule."""
        jumped_ms, self._jumped_ms = self._jumped_ms, 0
        return jumped_ms

    def advance_to(self, ms: int) -> None:
        """Never give a time before `ms`: rows with that time exist."""
        self._lead_ms = max(self._lead_ms, ms - _monotonic_ms())


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
