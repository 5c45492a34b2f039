"""What stored errors say, for people: one sentence and the stack."""

from __future__ import annotations

from typing import Any

import msgspec


class ErrorShown(msgspec.Struct, frozen=True, kw_only=True):
    """`Name: message`, and the stack as the SDK sent it, empty if it sent none."""

    text: str
    stack: str


def read_error(output: bytes) -> ErrorShown:
    """A stored error: an object as SDKs report it, or whatever else is there."""
    value: Any = msgspec.json.decode(output)
    if not isinstance(value, dict):
        return ErrorShown(text=str(value), stack="")
    parts = [value[key] for key in ("name", "message") if value.get(key)]
    stack = value.get("stack")
    return ErrorShown(
        text=": ".join(map(str, parts)), stack=stack if isinstance(stack, str) else ""
    )
