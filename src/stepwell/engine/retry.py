"""When a failed call is tried again.

Source: docs/reference/wire/calls.md, "retries".
"""

from __future__ import annotations

_SECOND_MS = 1_000
_MINUTE_MS = 60 * _SECOND_MS

BASE_DELAYS_MS = (
    15 * _SECOND_MS,
    30 * _SECOND_MS,
    1 * _MINUTE_MS,
    2 * _MINUTE_MS,
    5 * _MINUTE_MS,
    10 * _MINUTE_MS,
    20 * _MINUTE_MS,
    40 * _MINUTE_MS,
    60 * _MINUTE_MS,
    120 * _MINUTE_MS,
)
"""By the number of the attempt that failed, from 0; the last holds for all later ones."""

JITTER_MS = 30 * _SECOND_MS


def retry_delay_ms(attempt: int, *, interval_ms: int | None, entropy: int) -> int:
    """How long to wait after attempt number `attempt` (from 0) failed.

    Args:
        interval_ms: The operator's fixed interval in place of the schedule, if there is one.
        entropy: Any non-negative integer; spreads runs that failed together over 30 seconds.
    """
    if interval_ms is not None:
        return interval_ms
    return BASE_DELAYS_MS[min(attempt, len(BASE_DELAYS_MS) - 1)] + entropy % (JITTER_MS + 1)
