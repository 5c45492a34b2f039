"""Timestamps and durations as values of an expression, to the nanosecond.

Source: docs/reference/expressions.md, "time".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec

from stepwell.errors import WireError
from stepwell.expressions.faults import EvaluationError
from stepwell.wire.durations import parse_duration_ms, parse_instant_ms
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

_MS_NS: Final = 1_000_000
_S_NS: Final = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_NS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) * _S_NS
_LAST_NS = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH) // timedelta(
    seconds=1
) * _S_NS + (_S_NS - 1)
_DURATION_NS_MAX: Final = 2**63 - 1
_TEXT_CHARS_MAX: Final = 100

_RFC_3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)
_PART = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"([+-]?)((?:{_PART})+|0)")
_PARTS = re.compile(r"([0-9]*)\.?([0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # the micro sign
    "μs": 1_000,  # the Greek letter
    "ms": _MS_NS,
    "s": _S_NS,
    "m": 60 * _S_NS,
    "h": 3_600 * _S_NS,
}
_OFFSET = re.compile(r"([+-]?)(\d{2}):(\d{2})", re.ASCII)


class Timestamp(msgspec.Struct, frozen=True, order=True):
    """An instant of the years 1 to 9999."""

    ns: int
    """Since 1970, UTC."""


class Duration(msgspec.Struct, frozen=True, order=True):
    """A length of time of at most 292 years, either way."""

    ns: int


def timestamp_of(ns: int) -> Timestamp:
    """Raises `EvaluationError` beyond the range."""
    if not _FIRST_NS <= ns <= _LAST_NS:
        raise EvaluationError("a timestamp lies in the years 1 to 9999, this one does not")
    return Timestamp(ns)


def duration_of(ns: int) -> Duration:
    """Raises `EvaluationError` beyond the range."""
    if not -_DURATION_NS_MAX <= ns <= _DURATION_NS_MAX:
        raise EvaluationError("a duration may be 292 years long, this one is longer")
    return Duration(ns)


def at_ms(ms: int) -> Timestamp:
    """The instant of a clock's milliseconds."""
    return timestamp_of(ms * _MS_NS)


def parse_timestamp(text: str) -> Timestamp:
    """Read RFC 3339: `2026-08-20T10:00:00.5Z`."""
    found = _RFC_3339.fullmatch(text) if len(text) <= _TEXT_CHARS_MAX else None
    if found is None:
        raise EvaluationError(f"{quoted(text)} is not a timestamp such as 2026-08-20T10:00:00Z")
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        offset_s = 0 if found[8] in "Zz" else _offset_s(found[8])
    except ValueError as error:
        raise EvaluationError(f"{quoted(text)} is not a timestamp: {error}") from error
    fraction_ns = int(f"{found[7] or ''}000000000"[:9])
    seconds = (at - _EPOCH) // timedelta(seconds=1) - offset_s
    return timestamp_of(seconds * _S_NS + fraction_ns)


def parse_date(text: str) -> Timestamp:
    """Read any of the forms of an instant, or a date alone."""
    try:
        return at_ms(parse_instant_ms(text))
    except WireError as error:
        raise EvaluationError(error.message) from error


def parse_duration(text: str) -> Duration:
    """Read numbers with units up to hours: `1h30m`, `1.5s`, `-10ms`."""
    found = _DURATION.fullmatch(text) if len(text) <= _TEXT_CHARS_MAX else None
    if found is None:
        raise EvaluationError(
            f"{quoted(text)} is not a duration; write numbers with units, such as 90m or 1.5h "
            "(ns us ms s m h)"
        )
    total_ns = 0
    for whole, fraction, unit in _PARTS.findall(found[2]):
        unit_ns = _UNIT_NS[unit]
        total_ns += int(whole or "0") * unit_ns
        if fraction:
            total_ns += int(fraction) * unit_ns // 10 ** len(fraction)
    return duration_of(-total_ns if found[1] == "-" else total_ns)


def parse_span(text: str) -> Duration:
    """Read a duration as steps write it: also in days and weeks, to the millisecond."""
    try:
        return duration_of(parse_duration_ms(text) * _MS_NS)
    except WireError as error:
        raise EvaluationError(error.message) from error


def timestamp_text(at: Timestamp) -> str:
    """RFC 3339 in UTC, with as many digits of a second as there are."""
    seconds, ns = divmod(at.ns, _S_NS)
    moment = _EPOCH.replace(tzinfo=None) + timedelta(seconds=seconds)
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return f"{moment.isoformat(timespec='seconds')}{fraction}Z"


def duration_text(length: Duration) -> str:
    """Seconds, with as many digits as there are: `5400s`, `0.25s`."""
    seconds, ns = divmod(abs(length.ns), _S_NS)
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return f"{'-' if length.ns < 0 else ''}{seconds}{fraction}s"


def _moment(at: Timestamp, zone: str) -> datetime:
    utc = _EPOCH + timedelta(seconds=at.ns // _S_NS)
    if zone == "UTC":
        return utc
    try:
        return utc.astimezone(_zone(zone))
    except OverflowError as error:
        raise EvaluationError("in this time zone the timestamp has no date") from error


def _zone(name: str) -> tzinfo:
    try:
        if _OFFSET.fullmatch(name):
            return timezone(timedelta(seconds=_offset_s(name)))
        return ZoneInfo(name[:_TEXT_CHARS_MAX])
    except (ValueError, OSError, LookupError) as error:
        raise EvaluationError(
            f"{quoted(name)} is not a time zone such as Europe/Paris or +02:00"
        ) from error


def _offset_s(text: str) -> int:
    found = _OFFSET.fullmatch(text)
    if found is None or int(found[2]) > 23 or int(found[3]) > 59:
        raise ValueError(f"the offset {text} is not one")
    seconds = int(found[2]) * 3_600 + int(found[3]) * 60
    return -seconds if found[1] == "-" else seconds


PARTS_OF_TIMESTAMP: Final[dict[str, Callable[[Timestamp, str], int]]] = {
    "getFullYear": lambda at, zone: _moment(at, zone).year,
    "getMonth": lambda at, zone: _moment(at, zone).month - 1,
    "getDate": lambda at, zone: _moment(at, zone).day,
    "getDayOfMonth": lambda at, zone: _moment(at, zone).day - 1,
    "getDayOfWeek": lambda at, zone: _moment(at, zone).isoweekday() % 7,
    "getDayOfYear": lambda at, zone: _moment(at, zone).timetuple().tm_yday - 1,
    "getHours": lambda at, zone: _moment(at, zone).hour,
    "getMinutes": lambda at, zone: _moment(at, zone).minute,
    "getSeconds": lambda at, zone: _moment(at, zone).second,
    "getMilliseconds": lambda at, zone: at.ns % _S_NS // _MS_NS,
}
"""Months, days of the month and days of the year count from 0, and Sunday is 0; only `getDate`
counts from 1."""


def _whole(ns: int, unit_ns: int) -> int:
    return ns // unit_ns if ns >= 0 else -(-ns // unit_ns)


PARTS_OF_DURATION: Final[dict[str, Callable[[Duration], int]]] = {
    "getHours": lambda length: _whole(length.ns, 3_600 * _S_NS),
    "getMinutes": lambda length: _whole(length.ns, 60 * _S_NS),
    "getSeconds": lambda length: _whole(length.ns, _S_NS),
    "getMilliseconds": lambda length: _whole(length.ns, _MS_NS) - 1_000 * _whole(length.ns, _S_NS),
}
"""The whole length in that unit; milliseconds are those beyond the whole seconds."""
