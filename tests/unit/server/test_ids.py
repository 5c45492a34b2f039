"""Ids ascend, cannot be guessed, and say when they were made."""

from __future__ import annotations

from itertools import pairwise

from stepwell.server.ids import SystemIds
from stepwell.wire.ids import ulid_ms

NOW_MS = 1_766_000_000_000


def test_ids_ascend_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    ids = SystemIds()
    times_ms = [NOW_MS] * 2_000 + [NOW_MS - 5, NOW_MS + 1, NOW_MS]
    made = [ids.ulid(ms) for ms in times_ms]
    assert made == sorted(set(made))
    assert [ulid_ms(one) for one in made[1_999:]] == [NOW_MS, NOW_MS, NOW_MS + 1, NOW_MS + 1]


def test_no_distance_between_two_ids_comes_twice() -> None:
    ids = SystemIds()
    made = [int.from_bytes(ids.ulid(NOW_MS), "big") for _ in range(2_000)]
    distances = [after - before for before, after in pairwise(made)]
    assert len(set(distances)) == len(distances)
    assert sum(distances) / len(distances) > 2**45  # of 48 bits


def test_two_sources_have_nothing_in_common() -> None:
    one, other = SystemIds(), SystemIds()
    assert not {one.ulid(NOW_MS) for _ in range(1_000)} & {other.ulid(NOW_MS) for _ in range(1_000)}
