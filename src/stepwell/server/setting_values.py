"""How the text of a setting becomes its value.

Each function raises `ValueError` whose text completes "give ...": what would have been right.
"""

from __future__ import annotations

import math
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stepwell.wire.keys import validate_signing_key

if TYPE_CHECKING:
    from collections.abc import Callable

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}
_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning",
           "error": "error"}  # fmt: skip


def as_text(given: Any) -> str:
    """A flag's text as it is; a TOML number or boolean as its text."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, str | int | float):
        return str(given)
    raise ValueError("a text, a number or true or false")


def anything(given: str) -> str:
    """Whatever was given: nobody looks at it."""
    return given


def text(given: str) -> str:
    """Text that is not empty."""
    if not given:
        raise ValueError("a text that is not empty")
    return given


def switch(given: str) -> bool:
    """On or off."""
    if given.lower() in _TRUE:
        return True
    if given.lower() in _FALSE:
        return False
    raise ValueError("true or false")


def count(*, least: int, most: int) -> Callable[[str], int]:
    """A whole number between two bounds, both allowed."""

    def read(given: str) -> int:
        if given.isascii() and given.isdigit() and len(given) < 19 and least <= int(given) <= most:
            return int(given)
        raise ValueError(f"a whole number from {least} to {most}")

    return read


port = count(least=0, most=65_535)


def seconds(*, least: float, most: float) -> Callable[[str], int]:
    """Seconds, possibly with a fraction, as whole milliseconds."""

    def read(given: str) -> int:
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not least <= value <= most:  # false for not-a-number too
            raise ValueError(f"a number of seconds from {least:g} to {most:g}")
        return round(value * 1000)

    return read


def seconds_or_none(*, most: float) -> Callable[[str], int | None]:
    """Seconds as milliseconds; 0 means none."""
    read = seconds(least=0, most=most)
    return lambda given: read(given) or None


def path(given: str) -> Path:
    """A path; `~` is the home directory."""
    return Path(text(given)).expanduser()


def log_level(given: str) -> str:
    """A level's name, in any letter case."""
    level = _LEVELS.get(given.lower())
    if level is None:
        raise ValueError("debug, info, warning or error")
    return level


def signing_key(given: str) -> str:
    """A signing key that can sign."""
    validate_signing_key(given)
    return given


def event_key(given: str) -> str:
    """An event key: it is one segment of a URL's path."""
    if not given or "/" in given or not given.isprintable():
        raise ValueError("a text that is not empty and has no slash")
    return given


def app_url(given: str) -> str:
    """Where an app is served; `http://` goes without saying."""
    wanted = "a URL such as http://localhost:3000/api/inngest"
    url = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(wanted) from error
    if not known:
        raise ValueError(wanted)
    return url


def address_range(given: str) -> str:
    """A range of addresses in CIDR notation; one address is a range too."""
    try:
        return str(ip_network(given))
    except ValueError as error:
        raise ValueError(f"a range of addresses such as 10.1.0.0/16 ({error})") from error


def websocket_url(given: str) -> str:
    """A `ws://` or `wss://` URL."""
    wanted = "a URL such as wss://connect.example.com/v0/connect"
    try:
        url = urlsplit(given)
        known = url.scheme in ("ws", "wss") and bool(url.hostname) and url.port != 0
    except ValueError as error:  # a broken address or port
        raise ValueError(wanted) from error
    if not known:
        raise ValueError(wanted)
    return given
