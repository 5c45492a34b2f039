"""How long a worker waits between attempts."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.connect.backoff import STABLE_MS, Backoff
from stepwell.connect.reconnect import BASE_MS, CAP_MS, ReconnectPolicy


def most(_least: float, value: float) -> float:
    return value


def least(value: float, _most: float) -> float:
    return value


def test_limit_doubles_up_to_its_cap() -> None:
    backoff = Backoff(draw=most)

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
    backoff = Backoff(draw=most)

    assert backoff.next_delay_ms(at_once=True) == 0
    assert backoff.next_delay_ms(at_once=True) == 2 * BASE_MS


def test_connection_that_held_starts_from_the_beginning() -> None:
    backoff = Backoff(draw=most)
    for _ in range(5):
        backoff.next_delay_ms()

    backoff.ended(held_ms=STABLE_MS)

    assert backoff.next_delay_ms() == BASE_MS


def test_connection_that_did_not_hold_counts_as_a_failed_attempt() -> None:
    backoff = Backoff(draw=most)
    backoff.next_delay_ms()

    backoff.ended(held_ms=STABLE_MS - 1)

    assert backoff.next_delay_ms() == 2 * BASE_MS


def test_pauses_are_those_of_the_policy() -> None:
    policy = ReconnectPolicy(base=timedelta(seconds=1), cap=3_000, jitter="none")

    backoff = Backoff(policy)

    assert [backoff.next_delay_ms() for _ in range(4)] == [1_000, 2_000, 3_000, 3_000]


@pytest.mark.parametrize(
    ("jitter", "shortest"), [("full", 0), ("none", 1_000), (0.2, 800), (0.0, 1_000), (1, 0)]
)
def test_jitter_draws_from_its_part_of_the_pause(
    jitter: float | Literal["full", "none"], shortest: int
) -> None:
    policy = ReconnectPolicy(base=1_000, jitter=jitter)

    assert Backoff(policy, draw=least).next_delay_ms() == shortest
    assert Backoff(policy, draw=most).next_delay_ms() == 1_000
