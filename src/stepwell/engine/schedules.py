"""Schedules at work: when each fires next, and what it starts.

An instant fires once for a function, however many of its schedules name it. After the server was
down, the last instant that was missed fires once, late; those before it do not.
Source: docs/reference/wire/triggers.md, "schedules".
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.catalog import FunctionEntry
from stepwell.engine.cron import jitter_delay_ms, parse_cron
from stepwell.engine.rows import DeleteSchedule, PutEvent, PutSchedule
from stepwell.engine.starting import receive_event
from stepwell.wire.durations import format_iso_ms
from stepwell.wire.ids import EventId
from stepwell.wire.lifecycle import SCHEDULED_EVENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stepwell.engine.catalog import Catalog
    from stepwell.engine.rows import Write
    from stepwell.engine.turn import Turn


MISSED_MS = 60_000
"""What fires later than this was missed: nobody was there to fire it."""


class _Schedule(msgspec.Struct, eq=False):
    entry: FunctionEntry
    cron: str
    jitter_ms: int
    last_ms: int
    fire_ms: int = 0


class Schedules:
    """All schedules, by the time at which they fire."""

    def __init__(self) -> None:
        self._schedules: dict[tuple[int, str], _Schedule] = {}
        self._of_function: dict[int, list[_Schedule]] = {}
        self._heap: list[tuple[int, int, str]] = []

    def load(self, rows: Iterable[PutSchedule], catalog: Catalog) -> None:
        """Fill from rows."""
        for row in rows:
            entry = catalog.by_no(row.function_no)
            assert entry is not None, "functions are archived, never deleted"
            jitter_ms = _jitters(entry).get(row.cron)
            assert jitter_ms is not None, "a schedule's row goes with its trigger"
            self._keep(_Schedule(entry, row.cron, jitter_ms, row.last_ms))

    def sync(self, catalog: Catalog, now_ms: int) -> list[Write]:
        """Follow the functions as they are now; returns the rows. What stays does not start anew:
        an instant that is due waits for no sync."""
        wanted = {
            (entry.no, cron): (entry, jitter_ms)
            for entry in catalog.functions
            for cron, jitter_ms in _jitters(entry).items()
        }
        writes: list[Write] = []
        for no, cron in [key for key in self._schedules if key not in wanted]:
            self._forget(self._schedules[no, cron])
            writes.append(DeleteSchedule(function_no=no, cron=cron))
        for (no, cron), (entry, jitter_ms) in wanted.items():
            known = self._schedules.get((no, cron))
            if known is None:
                writes.append(PutSchedule(function_no=no, cron=cron, last_ms=now_ms))
                self._keep(_Schedule(entry, cron, jitter_ms, now_ms))
                continue
            known.entry = entry
            if known.jitter_ms != jitter_ms:
                known.jitter_ms = jitter_ms
                self._keep(known)
        return writes

    def next_ms(self) -> int | None:
        """When the first one fires."""
        while self._heap:
            fire_ms, no, cron = self._heap[0]
            schedule = self._schedules.get((no, cron))
            if schedule is not None and schedule.fire_ms == fire_ms:
                return fire_ms
            heappop(self._heap)  # it was changed
        return None

    def fire_next(self, turn: Turn) -> bool:
        """Fire the first one, if it is due; False if none is."""
        fire_ms = self.next_ms()
        if fire_ms is None or fire_ms > turn.now_ms:
            return False
        _fire_ms, no, cron = heappop(self._heap)
        schedule = self._schedules[no, cron]
        at_ms = self._instant(schedule, turn.now_ms)
        is_new = not any(
            other.last_ms >= at_ms and parse_cron(other.cron).last_until(at_ms) == at_ms
            for other in self._of_function[no]
            if other is not schedule
        )
        schedule.last_ms = at_ms
        turn.writes.append(PutSchedule(function_no=no, cron=cron, last_ms=at_ms))
        # With a jitter longer than the interval, the next one may have waited for this one.
        self._keep(schedule, not_before_ms=turn.now_ms)
        if is_new:
            _start(turn, schedule, at_ms)
        return True

    def _instant(self, schedule: _Schedule, now_ms: int) -> int:
        """The instant that fires now: the next one, or the last of those that were missed."""
        cron = parse_cron(schedule.cron)
        first_ms = cron.next_after(schedule.last_ms)
        assert first_ms is not None, "it is due"
        if now_ms - schedule.fire_ms <= MISSED_MS:
            return first_ms
        at_ms = cron.last_until(now_ms)
        while at_ms is not None and at_ms > first_ms:
            if at_ms + self._delay_ms(schedule, at_ms) <= now_ms:
                return at_ms
            at_ms = cron.last_until(at_ms - 1)
        return first_ms

    def _keep(self, schedule: _Schedule, *, not_before_ms: int = 0) -> None:
        at_ms = parse_cron(schedule.cron).next_after(schedule.last_ms)
        key = (schedule.entry.no, schedule.cron)
        if key not in self._schedules:
            self._schedules[key] = schedule
            self._of_function.setdefault(key[0], []).append(schedule)
        if at_ms is not None:
            schedule.fire_ms = max(at_ms + self._delay_ms(schedule, at_ms), not_before_ms)
            heappush(self._heap, (schedule.fire_ms, schedule.entry.no, schedule.cron))

    def _forget(self, schedule: _Schedule) -> None:
        no = schedule.entry.no
        del self._schedules[no, schedule.cron]
        others = [other for other in self._of_function[no] if other is not schedule]
        if others:
            self._of_function[no] = others
        else:
            del self._of_function[no]

    @staticmethod
    def _delay_ms(schedule: _Schedule, at_ms: int) -> int:
        return jitter_delay_ms(
            function_id=schedule.entry.function_id,
            cron=schedule.cron,
            at_ms=at_ms,
            jitter_ms=schedule.jitter_ms,
        )


def _jitters(entry: FunctionEntry) -> dict[str, int]:
    if entry.archived_at_ms is not None:
        return {}
    return {
        trigger.cron: trigger.jitter_ms
        for trigger in entry.config.triggers
        if trigger.cron is not None
    }


def _start(turn: Turn, schedule: _Schedule, at_ms: int) -> None:
    scheduled = format_iso_ms(at_ms).replace(".000", "")
    data = {
        "cron": schedule.cron,
        "fireAt": format_iso_ms(turn.now_ms).replace(".000", ""),
        "scheduledAt": scheduled,
    }
    row = PutEvent(
        event_id=EventId(turn.owner.ids.ulid(turn.now_ms)),
        name=SCHEDULED_EVENT,
        ts_ms=turn.now_ms,
        data=msgspec.json.encode(data),
        external_id=scheduled,
    )
    event = {
        "name": row.name,
        "id": scheduled,
        "ts": row.ts_ms,
        "data": data,
        "user": {},
    }
    receive_event(turn, row, event=lambda: event, target=schedule.entry)
