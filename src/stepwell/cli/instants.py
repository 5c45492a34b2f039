"""Times as options take them: checked here, so that the message names the option."""

from __future__ import annotations

import re

import click

from stepwell.errors import WireError
from stepwell.wire.durations import parse_instant_ms

ALLOWED = (
    "allowed are RFC 3339 such as 2026-08-20T10:00:00Z, a date such as 2026-08-20, and Unix "
    "seconds or milliseconds"
)
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


def instant(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """The callback of an option for a time in any form that the API reads; keeps the text.

    Raises:
        BadParameter: It is none; the message says what is allowed.
    """
    if value is None or _NUMBER.fullmatch(value):
        return value
    try:
        parse_instant_ms(value)
    except WireError as error:
        raise click.BadParameter(f"{value!r} is no time; {ALLOWED}") from error
    return value
