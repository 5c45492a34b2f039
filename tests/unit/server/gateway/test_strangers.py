"""Sockets that have not authenticated are bounded, and the newest is not the one that pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.server.gateway.strangers import (
    REPEAT_MS,
    TOGETHER_BYTES_MAX,
    TOGETHER_MAX,
    Strangers,
)

if TYPE_CHECKING:
    import pytest


class Caller:
    """A socket that remembers whether it had to go."""

    def __init__(self) -> None:
        self.is_gone = False

    def make_room(self) -> None:
        self.is_gone = True


def came(strangers: Strangers, count: int) -> list[Caller]:
    callers = [Caller() for _ in range(count)]
    for caller in callers:
        strangers.came(caller, 0)
    return callers


def test_the_oldest_makes_room_for_the_newest() -> None:
    strangers = Strangers()
    callers = came(strangers, TOGETHER_MAX)
    assert not any(caller.is_gone for caller in callers)
    (newest,) = came(strangers, 1)
    assert [caller.is_gone for caller in callers[:2]] == [True, False]
    assert not newest.is_gone
    assert len(strangers) == TOGETHER_MAX


def test_the_one_that_sent_most_makes_room_for_bytes() -> None:
    strangers = Strangers()
    small, large, middle = came(strangers, 3)
    strangers.sent(large, TOGETHER_BYTES_MAX - 10, 0)
    strangers.sent(middle, 6, 0)
    strangers.sent(small, 4, 0)
    assert not large.is_gone
    strangers.sent(small, 1, 0)
    assert (small.is_gone, middle.is_gone, large.is_gone) == (False, False, True)
    strangers.sent(middle, TOGETHER_BYTES_MAX - 11, 0)  # the room of the large one is free again
    assert not middle.is_gone


def test_who_sends_too_much_may_itself_be_the_one() -> None:
    strangers = Strangers()
    (caller,) = came(strangers, 1)
    strangers.sent(caller, TOGETHER_BYTES_MAX + 1, 0)
    assert caller.is_gone
    assert len(strangers) == 0


def test_one_that_left_counts_no_more() -> None:
    strangers = Strangers()
    worker, other = came(strangers, 2)
    strangers.sent(worker, TOGETHER_BYTES_MAX, 0)
    strangers.left(worker)
    strangers.left(worker)
    strangers.sent(worker, 1, 0)
    strangers.sent(other, TOGETHER_BYTES_MAX, 0)
    assert not other.is_gone


def test_a_flood_is_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers()
    for now_ms in (0, 1, REPEAT_MS - 1, REPEAT_MS):
        (caller,) = came(strangers, 1)
        strangers.sent(caller, TOGETHER_BYTES_MAX + 1, now_ms)
    assert [record.__dict__["closed"] for record in caplog.records] == [1, 3]
