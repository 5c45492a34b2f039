"""What an event did to runs that it did not start: those that went on with it, or ended by it.

An event's row names the runs that it started. This is soft state of the last events, for whoever
asks what came of one that was just sent: a restart begins with none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.inputs import EventMatched
from stepwell.engine.rows import HistoryKind, PutHistory, PutStep, StepKind
from stepwell.wire.ids import RunId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stepwell.engine.inputs import Input
    from stepwell.engine.rows import Write
    from stepwell.wire.ids import EventId

EVENTS_MAX = 1_000
"""Events that are remembered; the oldest are forgotten first."""

RUNS_MAX = 100
"""Runs of each kind that are remembered for one event."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that were told of an event.

    Attributes:
        continued: They waited for it.
        cancelled: Their functions say that it cancels them.
        is_pending: There may be others: not all that may be concerned have been looked at.
    """

    continued: tuple[RunId, ...] = ()
    cancelled: tuple[RunId, ...] = ()
    is_pending: bool = False


class ToldBook:
    """The last events that concerned runs which waited."""

    def __init__(self) -> None:
        self._told: dict[EventId, Told] = {}
        self._matched: list[EventMatched] = []

    def of(self, event_id: EventId) -> Told:
        """What this event did, as far as it is known."""
        told = self._told.get(event_id, Told())
        if any(item.event_id == event_id for item in self._matched):
            return msgspec.structs.replace(told, is_pending=True)
        return told

    def begin(self, errands: Iterable[Input]) -> None:
        """These are decided on now."""
        self._matched = [item for item in errands if isinstance(item, EventMatched)]

    def failed(self) -> None:
        """What was decided on is not stored, and will be decided on again."""
        self._matched = []

    def committed(self, writes: Sequence[Write]) -> None:
        """What was decided on is stored, with these rows."""
        matched, self._matched = self._matched, []
        if not matched:
            return
        continued: dict[RunId, list[bytes]] = {}
        cancelled: dict[RunId, bytes] = {}
        for row in writes:
            if isinstance(row, PutStep) and row.kind is StepKind.EVENT:
                continued.setdefault(row.run_id, []).append(row.data)
            elif isinstance(row, PutHistory) and row.kind is HistoryKind.CANCELLED and row.payload:
                cancelled[row.run_id] = row.payload
        for item in matched:
            runs = list(dict.fromkeys(run_id for _watch_id, run_id in item.found))
            name = item.event["name"]
            self._add(
                item.event_id,
                [run for run in runs if item.event_json in continued.get(run, ())],
                [run for run in runs if _cancels(cancelled.get(run), name)],
            )

    def _add(
        self, event_id: EventId, continued: Sequence[RunId], cancelled: Sequence[RunId]
    ) -> None:
        if not continued and not cancelled:
            return
        before = self._told.pop(event_id, Told())
        self._told[event_id] = Told(
            continued=(*before.continued, *continued)[:RUNS_MAX],
            cancelled=(*before.cancelled, *cancelled)[:RUNS_MAX],
        )
        if len(self._told) > EVENTS_MAX:
            del self._told[next(iter(self._told))]


def _cancels(payload: bytes | None, name: str) -> bool:
    return payload is not None and msgspec.json.decode(payload).get("event") == name
