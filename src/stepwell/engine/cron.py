"""Schedules: which instants a cron text names.

Five fields, with `TZ=Zone` or `CRON_TZ=Zone` in front for a zone other than UTC. In a zone with
summer time a job of a fixed hour runs once a day: one in the hour that is left out runs right
after it, one in the hour that comes twice runs the first time; jobs of every minute or hour follow
real time. Source: docs/reference/wire/triggers.md, "schedules".
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from stepwell.errors import WireError
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from datetime import tzinfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MINUTE_MS = 60_000
_PREFIXES = ("TZ=", "CRON_TZ=")


class Cron:
    """A cron text that was read. Instants are milliseconds since the epoch, whole minutes."""

    def __init__(self, text: str) -> None:
        """Read a text.

        Raises:
            WireError: `schedule_invalid`.
        """
        self.text = text
        fields, self._zone = _split(text)
        if len(fields.split()) != 5 or fields.lstrip().startswith("@"):
            raise _refused(
                text,
                "it needs five fields: minute, hour, day of the month, month, day of the week",
            )
        try:
            CronSim(fields, _EPOCH)
        except CronSimError as error:
            raise _refused(text, str(error)) from error
        self._fields = fields

    def next_after(self, ms: int) -> int | None:
        """The first instant later than this; None if there is none within fifty years."""
        return self._first(ms, reverse=False)

    def last_until(self, ms: int) -> int | None:
        """The last instant that is not later than this."""
        return self._first(ms // _MINUTE_MS * _MINUTE_MS + _MINUTE_MS, reverse=True)

    def _first(self, ms: int, *, reverse: bool) -> int | None:
        start = (_EPOCH + ms * _MS).astimezone(self._zone)
        try:
            found: datetime = next(CronSim(self._fields, start, reverse=reverse))
        except (StopIteration, OverflowError):
            return None
        return (found.astimezone(UTC) - _EPOCH) // _MS


@lru_cache(maxsize=1_024)
def parse_cron(text: str) -> Cron:
    """`Cron(text)`, remembered. Raises like it."""
    return Cron(text)


def jitter_delay_ms(*, function_id: str, cron: str, at_ms: int, jitter_ms: int) -> int:
    """How long after its instant a schedule with jitter fires: from 1 s on, always the same."""
    if jitter_ms < 1_000:
        return 0
    digest = hashlib.sha256(f"{function_id} {cron} {at_ms}".encode()).digest()
    return 1_000 + int.from_bytes(digest[:8], "big") % (jitter_ms - 999)


def _split(text: str) -> tuple[str, tzinfo]:
    for prefix in _PREFIXES:
        if text.startswith(prefix):
            zone, _space, fields = text[len(prefix) :].partition(" ")
            try:
                return fields, ZoneInfo(zone)
            except (KeyError, OSError, ValueError) as error:  # not there, or no name at all
                raise _refused(text, f"there is no time zone {quoted(zone)}") from error
    return text, UTC


def _refused(text: str, reason: str) -> WireError:
    return WireError(f"the schedule {quoted(text)}: {reason}", code="schedule_invalid")
