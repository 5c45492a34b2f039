"""A peer's text inside a message of ours."""

from __future__ import annotations

_CHARS_MAX = 80


def quoted(text: str) -> str:
    """The text in quotes, on one line, and no longer than it helps."""
    return repr(shortened(text))


def shortened(text: str, chars_max: int = _CHARS_MAX) -> str:
    """The text, or its beginning and three dots."""
    return text if len(text) <= chars_max else text[: chars_max - 3] + "..."
