"""How functions share what the server can request at a time."""

from __future__ import annotations

import pytest

from stepwell.engine.queue.request_slots import RequestSlots
from stepwell.wire.ids import RequestId


def request(number: int) -> RequestId:
    return RequestId(number.to_bytes(16, "big"))


def filled(limit: int, *functions: int) -> RequestSlots:
    """Slots as they are when these functions have taken turns for as long as they could."""
    slots, number = RequestSlots(limit), 0
    while any(slots.admits(no) for no in functions):
        no = min(functions, key=slots.in_use)
        number += 1
        slots.take(request(number), no)
    return slots


@pytest.mark.parametrize(
    ("limit", "functions", "each"),
    [(1, 1, 1), (2, 1, 1), (200, 1, 100), (200, 2, 67), (200, 3, 50), (3, 3, 1)],
)
def test_functions_leave_as_much_as_each_of_them_has(limit: int, functions: int, each: int) -> None:
    nos = range(1, functions + 1)
    slots = filled(limit, *nos)
    assert max(slots.in_use(no) for no in nos) == each
    assert len(slots) <= limit


def test_a_function_that_comes_later_finds_room() -> None:
    slots = filled(10, 1, 2)
    assert slots.admits(3)


def test_what_is_over_makes_room() -> None:
    slots = filled(2, 1)
    assert not slots.admits(1)
    slots.free(request(1))
    assert slots.admits(1)
    assert (slots.in_use(1), len(slots)) == (0, 0)


def test_more_than_may_be_are_counted_all_the_same() -> None:
    """A restart may have brought a lower limit."""
    slots = RequestSlots(1)
    for number in range(3):
        slots.take(request(number), 1)
    slots.free(request(0))
    assert len(slots) == 2
    assert not slots.admits(2)
