"""How long a worker waits between attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stepwell.connect.backoff import BASE_MS, CAP_MS, STABLE_MS, Backoff


def most(value: float) -> float:
    return value


def test_limit_doubles_up_to_its_cap() -> None:
    backoff = Backoff(most)

    delays = [backoff.next_delay_ms() for _ in range(40)]

    assert delays[:4] == [BASE_MS, 2 * BASE_MS, 4 * BASE_MS, 8 * BASE_MS]
    assert delays[-1] == CAP_MS
    assert delays == sorted(delays)


@given(st.integers(1, 50))
def test_delay_is_drawn_from_zero_to_the_limit(attempts: int) -> None:
    backoff = Backoff()

    for _ in range(attempts):
        assert 0 <= backoff.next_delay_ms() <= CAP_MS


def test_only_the_first_attempt_is_made_at_once() -> None:
    backoff = Backoff(most)

    assert backoff.next_delay_ms(at_once=True) == 0
    assert backoff.next_delay_ms(at_once=True) == 2 * BASE_MS


def test_connection_that_held_starts_from_the_beginning() -> None:
    backoff = Backoff(most)
    for _ in range(5):
        backoff.next_delay_ms()

    backoff.ended(held_ms=STABLE_MS)

    assert backoff.next_delay_ms() == BASE_MS


def test_connection_that_did_not_hold_counts_as_a_failed_attempt() -> None:
    backoff = Backoff(most)
    backoff.next_delay_ms()

    backoff.ended(held_ms=STABLE_MS - 1)

    assert backoff.next_delay_ms() == 2 * BASE_MS
