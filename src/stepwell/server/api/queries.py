"""Query parameters and path ids, read strictly: what cannot be read is a 400 with the reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stepwell.errors import WireError
from stepwell.wire.durations import parse_instant_ms
from stepwell.wire.ids import EventId, RunId, parse_ulid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import QueryParams

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
_SECONDS_BELOW = 100_000_000_000  # as seconds the year 5138, as milliseconds the year 1973
_ID_MS_MAX = 2**48 - 1


def event_id(text: str) -> EventId:
    """An internal event id.

    Raises:
        WireError: 400 `invalid_field_format`.
    """
    return EventId(_ulid(text, "event"))


def run_id(text: str) -> RunId:
    """A run id. Raises like `event_id`."""
    return RunId(_ulid(text, "run"))


def _ulid(text: str, what: str) -> bytes:
    try:
        return parse_ulid(text)
    except WireError as error:
        raise WireError(f"Invalid {what} ID: {text}", code="invalid_field_format") from error


def cursor(query: QueryParams) -> bytes | None:
    """The `cursor` parameter as the 16 bytes of an id, None when absent or empty."""
    text = query.get("cursor")
    if not text:
        return None
    try:
        return parse_ulid(text)
    except WireError as error:
        raise WireError("Invalid cursor query parameter", code="invalid_field_format") from error


def limit(query: QueryParams, *, default: int, most: int) -> int:
    """The `limit` parameter: the default for nothing, zero and text, at most `most`."""
    text = query.get("limit", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        return default
    return min(int(text), most) or default


def instant_ms(query: Mapping[str, str], name: str) -> int | None:
    """A time: RFC 3339 or 1123, a date, or a Unix time in seconds or milliseconds; UTC unless it
    says.

    Raises:
        WireError: 400, with the name of the parameter.
    """
    text = (query.get(name) or "").strip()
    if not text:
        return None
    try:
        if _NUMBER.fullmatch(text):
            number = float(text)
            return _clamp(number * 1000 if abs(number) < _SECONDS_BELOW else number)
        # A plus sign in a query that nobody escaped arrives as a space.
        return _clamp(parse_instant_ms(re.sub(r" ([0-9]{2}:?[0-9]{2})$", r"+\1", text)))
    except WireError as error:
        raise WireError(
            f"Invalid {name} query parameter: {text!r} is no time; allowed are RFC 3339 such as "
            "2026-08-20T10:00:00Z, a date such as 2026-08-20, and Unix seconds or milliseconds",
            code="invalid_field_format",
        ) from error


def _clamp(ms: float) -> int:
    """Into the times that an id can carry, so that a far date is simply before or after all."""
    return min(max(int(ms), 0), _ID_MS_MAX)


def flag(query: QueryParams, name: str) -> bool:
    """A boolean parameter; absent is false.

    Raises:
        WireError: 400, with the name of the parameter.
    """
    text = query.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise WireError(f"{name} must be true or false", code="invalid_field_format")
    return text in ("true", "1")
