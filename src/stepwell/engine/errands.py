"""What a later turn has still to do, because it needs rows that this one did not load.

An errand is a row of the same commit as its cause, so a crash in between loses nothing. The
runtime loads what the first errands need and brings them back as inputs; their turn deletes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from stepwell.engine.rows import DeleteErrand, PutErrand
from stepwell.wire.ids import EventId, RunId, ulid_ms

if TYPE_CHECKING:
    from collections.abc import Iterable


class MatchEvent(msgspec.Struct, frozen=True, array_like=True, tag="event"):
    """An event came that runs watch for, or that starts functions under conditions on its data,
    which was not at hand (`starts`).

    `after` is the watch that was looked at last: there may be too many for one turn.
    """

    event_id: EventId
    starts: bool = False
    after: bytes = b""


class TellParent(msgspec.Struct, frozen=True, array_like=True, tag="parent"):
    """A run that another one invoked is over."""

    parent: RunId
    step_id: str
    child: RunId


class StartDeferred(msgspec.Struct, frozen=True, array_like=True, tag="deferred"):
    """A run that deferred functions is over: by id of the step, the slug and the history row."""

    run_id: RunId
    defers: tuple[tuple[str, str, int], ...]


Errand: TypeAlias = MatchEvent | TellParent | StartDeferred

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Errand).decode


class Errands:
    """Those that are not done, in order."""

    def __init__(self) -> None:
        self._errands: dict[bytes, Errand] = {}

    def load(self, rows: Iterable[PutErrand]) -> None:
        """Fill from rows, which come in order."""
        for row in rows:
            self._errands[row.errand_id] = _decode(row.body)

    def __len__(self) -> int:
        return len(self._errands)

    def first(self, count: int) -> list[tuple[bytes, Errand]]:
        """The next ones to do."""
        found: list[tuple[bytes, Errand]] = []
        for item in self._errands.items():
            if len(found) == count:
                break
            found.append(item)
        return found

    def seeks(self, event_id: EventId) -> bool:
        """Whether runs are still to be looked at that this event may concern."""
        return any(
            isinstance(errand, MatchEvent) and errand.event_id == event_id
            for errand in self._errands.values()
        )

    def oldest_ms(self) -> int | None:
        """When the first of those that are not done came about."""
        for errand_id in self._errands:
            return ulid_ms(errand_id)
        return None

    def put(self, errand_id: bytes, errand: Errand) -> PutErrand:
        """Add one, or say how far one has come; returns its row."""
        self._errands[errand_id] = errand
        return PutErrand(errand_id=errand_id, body=_encode(errand))

    def done(self, errand_id: bytes) -> DeleteErrand:
        """Forget one; returns the row that does so."""
        self._errands.pop(errand_id, None)
        return DeleteErrand(errand_id=errand_id)
