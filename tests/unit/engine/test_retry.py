"""The retry schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.engine.retry import BASE_DELAYS_MS, retry_delay_ms


@pytest.mark.parametrize(
    ("attempt", "from_s", "to_s"),
    [(0, 15, 45), (1, 30, 60), (2, 60, 90), (3, 120, 150), (4, 300, 330), (9, 7_200, 7_230)],
)
def test_delays_of_the_schedule_lie_in_their_thirty_seconds(
    attempt: int, from_s: int, to_s: int
) -> None:
    delays = [
        retry_delay_ms(attempt, interval_ms=None, entropy=entropy) for entropy in range(30_001)
    ]
    assert min(delays) == from_s * 1_000
    assert max(delays) == to_s * 1_000


@given(st.integers(0, 30), st.integers(0, 2**80))
def test_no_delay_is_outside_the_schedule(attempt: int, entropy: int) -> None:
    delay = retry_delay_ms(attempt, interval_ms=None, entropy=entropy)
    base = BASE_DELAYS_MS[min(attempt, 9)]
    assert base <= delay <= base + 30_000


def test_the_last_delay_holds_for_all_later_attempts() -> None:
    assert retry_delay_ms(20, interval_ms=None, entropy=0) == 7_200_000


@pytest.mark.parametrize("interval_ms", [0, 1_000])
def test_an_interval_replaces_the_schedule_without_jitter(interval_ms: int) -> None:
    assert retry_delay_ms(5, interval_ms=interval_ms, entropy=12_345) == interval_ms
