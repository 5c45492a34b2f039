"""Durations and instants as texts.

Durations are numbers with units in a row: `1w2d`, `1.5h`, `90m`. Instants come in the date forms
of RFC 3339, RFC 1123, RFC 850 and ANSI C. A text without an offset means UTC; other time zone
names are refused, because a guess would be wrong by hours.
Source: docs/reference/wire/ops.md, "durations and instants".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from stepwell.errors import ConfigError, WireError
from stepwell.wire.quoting import quoted

RETRY_AFTER_MS_MIN: Final = 1_000
RETRY_AFTER_MS_MAX: Final = 24 * 3_600_000

DURATION_MS_MAX: Final = 2**53
"""Longer than anything that a clock here can count to; the engine has its own limits."""

_TEXT_CHARS_MAX = 100
_INSTANT_CHARS_MIN = 10  # A shorter text is a duration.

_US_NS = 1_000
_MS_NS = 1_000 * _US_NS
_S_NS = 1_000 * _MS_NS
_UNIT_NS = {
    "ns": 1,
    "us": _US_NS,
    "µs": _US_NS,  # the micro sign
    "μs": _US_NS,  # the Greek letter
    "ms": _MS_NS,
    "s": _S_NS,
    "m": 60 * _S_NS,
    "h": 3_600 * _S_NS,
    "d": 86_400 * _S_NS,
    "w": 604_800 * _S_NS,
}
_PART = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h|d|w)"
_DURATION = re.compile(rf"([+-]?)((?:{_PART})+|0)")
_PARTS = re.compile(r"([0-9]*)\.?([0-9]*)(ns|us|µs|μs|ms|s|m|h|d|w)")

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONE = r"(?P<zone>z|gmt|utc|[+-][0-9]{2}:?[0-9]{2})"
_TIME = (
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
)
_ISO_DATE = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_DATE = r"(?P<day>[0-9]{1,2})[ -](?P<month>[a-z]{3})[ -](?P<year>[0-9]{4}|[0-9]{2})"
_MONTH_AND_DAY = r"(?P<month>[a-z]{3}) {1,2}(?P<day>[0-9]{1,2})"
_INSTANTS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        # RFC 3339, and the date alone
        rf"{_ISO_DATE}(?:[t ]{_TIME} ?{_ZONE}?)?",
        # RFC 1123, RFC 822, RFC 850
        rf"(?:[a-z]{{3,9}}, )?{_DATE} {_TIME}(?: {_ZONE})?",
        # ANSI C
        rf"[a-z]{{3}} {_MONTH_AND_DAY} {_TIME} (?:{_ZONE} )?(?P<year>[0-9]{{4}})",
    )
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MS
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MS


def parse_duration_ms(text: str) -> int:
    """Read a duration; parts of a millisecond are dropped.

    Raises:
        WireError: `duration_invalid`.
    """
    found = _DURATION.fullmatch(text) if len(text) <= _TEXT_CHARS_MAX else None
    if found is None:
        raise WireError(
            f"{quoted(text)} is not a duration; write numbers with units, such as 90m, 1.5h or "
            "1w2d (ns us ms s m h d w)",
            code="duration_invalid",
        )
    total_ns = 0
    for whole, fraction, unit in _PARTS.findall(found[2]):
        unit_ns = _UNIT_NS[unit]
        total_ns += int(whole or "0") * unit_ns
        if fraction:
            total_ns += int(fraction) * unit_ns // 10 ** len(fraction)
    total_ms = total_ns // _MS_NS
    if total_ms > DURATION_MS_MAX:
        raise WireError(f"{quoted(text)} is too long a time", code="duration_invalid")
    return -total_ms if found[1] == "-" else total_ms


def format_duration(ms: int) -> str:
    """Write a duration in whole seconds, rounded up: `1h30m`. Zero is `0s`.

    Raises:
        ConfigError: `duration_invalid`, if it is negative.
    """
    if ms < 0:
        raise ConfigError(
            f"a duration cannot be negative, this is {ms} ms", code="duration_invalid"
        )
    rest = -(-ms // 1_000)
    text = ""
    for unit, seconds in (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, seconds)
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def parse_instant_ms(text: str) -> int:
    """Read an instant as milliseconds since the epoch; parts of a millisecond are dropped.

    Raises:
        WireError: `instant_invalid`.
    """
    ms = _instant_or_none(text)
    if ms is None:
        raise WireError(
            f"{quoted(text)} is not an instant; write it as 2026-08-20T10:00:00Z",
            code="instant_invalid",
        )
    return ms


def format_iso_ms(ms: int) -> str:
    """Write an instant as RFC 3339 with milliseconds.

    One that has no four-digit year becomes the first or the last one that has.
    """
    at = _EPOCH + min(max(ms, _FIRST_MS), _LAST_MS) * _MS
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def sleep_until_ms(text: str, now_ms: int) -> int:
    """When a sleep ends: never before `now_ms`, however the past was named.

    A text of ten characters or more that reads as an instant is one, anything else is a duration;
    an empty text is no time at all.

    Raises:
        WireError: `duration_invalid`, if it is neither.
    """
    if not text:
        return now_ms
    instant_ms = _instant_or_none(text) if len(text) >= _INSTANT_CHARS_MIN else None
    if instant_ms is not None:
        return max(now_ms, instant_ms)
    try:
        return max(now_ms, now_ms + parse_duration_ms(text))
    except WireError as error:
        raise WireError(
            f"{quoted(text)} is neither a duration such as 1h30m nor an instant such as "
            "2026-08-20T10:00:00Z",
            code="duration_invalid",
        ) from error


def retry_at_ms(text: str, now_ms: int) -> int | None:
    """When a call may be repeated: `Retry-After` in seconds or as an instant.

    Returns:
        Between one second and 24 hours from now; None if the text cannot be read.
    """
    if len(text) <= 7 and text.isascii() and text.isdigit() and int(text) > 0:
        wanted_ms: int | None = now_ms + int(text) * 1_000
    else:
        wanted_ms = _instant_or_none(text)
    if wanted_ms is None:
        return None
    return min(max(wanted_ms, now_ms + RETRY_AFTER_MS_MIN), now_ms + RETRY_AFTER_MS_MAX)


def _instant_or_none(text: str) -> int | None:
    if len(text) > _TEXT_CHARS_MAX:
        return None
    for form in _INSTANTS:
        if found := form.fullmatch(text):
            try:
                return _instant_ms(found)
            except ValueError:  # such as the 31st of February
                return None
    return None


def _instant_ms(found: re.Match[str]) -> int:
    part = found.groupdict()
    month_text = part["month"].lower()
    if month_text.isdigit():
        month = int(month_text)
    elif month_text in _MONTHS:
        month = _MONTHS.index(month_text) + 1
    else:
        raise ValueError(month_text)
    year = int(part["year"])
    if len(part["year"]) == 2:
        year += 1900 if year >= 69 else 2000
    second = int(part["second"] or 0)
    leap = second == 60  # counted as the first second of the next minute
    at = datetime(
        year,
        month,
        int(part["day"]),
        int(part["hour"] or 0),
        int(part["minute"] or 0),
        59 if leap else second,
        tzinfo=UTC,
    )
    ms = (at - _EPOCH) // _MS + (1_000 if leap else 0)
    ms += int(f"{part['fraction'] or ''}000"[:3])
    return ms - _offset_ms(part["zone"])


def _offset_ms(zone: str | None) -> int:
    if zone is None or zone[0] not in "+-":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    ms = (hours * 60 + minutes) * 60_000
    return -ms if zone[0] == "-" else ms
