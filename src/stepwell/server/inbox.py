"""Inputs that wait for a turn: bounded in number and in bytes, taken so many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from stepwell.engine.inputs import AppSynced, Input
from stepwell.errors import LimitExceeded
from stepwell.wire.events import NewEvent
from stepwell.wire.ids import EventId

if TYPE_CHECKING:
    from collections.abc import Iterable

INBOX_MAX = 50_000
"""Inputs that wait for a turn. More are refused with 503: the disk does not keep up."""

INBOX_BYTES_MAX = 256 * 2**20
"""The same for the events among them, in bytes."""

TURN_INPUTS_MAX = 1_000
TURN_EVENTS_MAX = 5_000
"""More wait for the next turn: heartbeats and the API have theirs in between."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Events that wait for their turn: what is known of them is looked up when it comes."""

    ticket: int
    events: Sequence[NewEvent]
    ids: tuple[EventId, ...]
    seeded: bool
    size: int


Item: TypeAlias = Input | Sent


class Inbox:
    """A queue of inputs. Whoever puts one in asks `check_room` first, unless it is a fact that
    cannot be refused."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def check_room(self, size: int = 0) -> None:
        """Ask for room for one more input.

        Args:
            size: Of its events, in bytes.
        Raises:
            LimitExceeded: 503 `overloaded`.
        """
        if len(self._items) >= INBOX_MAX:
            raise overloaded(INBOX_MAX, len(self._items) + 1)
        if self._bytes + size > INBOX_BYTES_MAX:
            raise overloaded(INBOX_BYTES_MAX, self._bytes + size)

    def put(self, item: Item) -> None:
        """Add an input."""
        self._items.append(item)
        if isinstance(item, Sent):
            self._bytes += item.size

    def put_first(self, items: Iterable[Input]) -> None:
        """Add inputs that must be decided on before all others."""
        self._items[:0] = items

    def take_turn(self) -> list[Item]:
        """Take the inputs of the next turn.

        What is looked up for events depends on the functions there are, so a sync ends its turn.
        """
        events = 0
        place = 0
        for place, item in enumerate(self._items, 1):
            if isinstance(item, Sent):
                events += len(item.events)
                self._bytes -= item.size
            if isinstance(item, AppSynced) or place == TURN_INPUTS_MAX or events >= TURN_EVENTS_MAX:
                break
        taken, self._items = self._items[:place], self._items[place:]
        return taken


def overloaded(limit: int, seen: int) -> LimitExceeded:
    """The error for whoever finds no room."""
    return LimitExceeded(
        "the server has more to do than it can store",
        code="overloaded",
        status=503,
        limit=limit,
        seen=seen,
        hint="try again later",
    )
