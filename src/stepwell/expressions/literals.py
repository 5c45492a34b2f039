"""Numbers, strings and bytes as they are written, both ways.

Source: docs/reference/expressions.md, "literals".
"""

from __future__ import annotations

import re
from typing import Any, Final

from stepwell.expressions.values import INT_MAX, UINT_MAX, Uint

_SIMPLE: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "?": "?",
    '"': '"',
    "'": "'",
    "`": "`",
}
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\?\"'`])|x(?P<x>[0-9a-fA-F]{2})|X(?P<X>[0-9a-fA-F]{2})"
    r"|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2})|(?P<bad>.|\n|$))"
)
_UNSAFE: Final = re.compile(r'[\x00-\x1f"\\\x7f\u2028\u2029]')
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


class BadLiteral(Exception):
    """A literal cannot be read; `at` is the character in it."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


def read_int(token: str) -> int:
    """Read an integer. One more than the largest is let through: it may follow a minus."""
    number = _integer(token)
    if number > INT_MAX + 1:
        raise BadLiteral(0, "an integer has 64 bits at most, this one has more")
    return number


def read_uint(token: str) -> Uint:
    number = _integer(token[:-1])
    if number > UINT_MAX:
        raise BadLiteral(0, "an unsigned integer has 64 bits at most, this one has more")
    return Uint(number)


def read_double(token: str) -> float:
    number = float(token)
    if number == float("inf"):
        raise BadLiteral(0, "the number is too large")
    return number


def read_string(token: str) -> str | bytes:
    """Read a string, or bytes: `"a\\n"`, `r'\\d+'`, `'''x'''`, `b"\\xff"`."""
    start = re.match(r"([bB]?)([rR]?)('''|\"\"\"|'|\")", token)
    assert start is not None, "the grammar lets nothing else through"
    quote = len(start[3])
    body = token[start.end() : -quote]
    if start[2]:
        return body.encode() if start[1] else body
    return _bytes(body, start.end()) if start[1] else _string(body, start.end())


def _integer(token: str) -> int:
    if token.startswith("0x"):
        return int(token, 16)
    digits = token.lstrip("0")
    return int(digits or "0") if len(digits) <= 20 else UINT_MAX + 1


def _string(body: str, offset: int) -> str:
    def character(found: re.Match[str]) -> str:
        kind, digits = _escape(found, offset)
        if kind == "simple":
            return _SIMPLE[digits]
        code = int(digits, 8 if kind == "octal" else 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise BadLiteral(offset + found.start(), "there is no such character")
        return chr(code)

    return _ESCAPE.sub(character, body) if "\\" in body else body


def _bytes(body: str, offset: int) -> bytes:
    parts: list[bytes] = []
    done = 0
    for found in _ESCAPE.finditer(body):
        parts.append(body[done : found.start()].encode())
        done = found.end()
        kind, digits = _escape(found, offset)
        if kind in "uU":
            raise BadLiteral(offset + found.start(), "bytes have no \\u; write \\x for each byte")
        if kind == "simple":
            parts.append(_SIMPLE[digits].encode())
        else:
            parts.append(bytes((int(digits, 8 if kind == "octal" else 16),)))
    parts.append(body[done:].encode())
    return b"".join(parts)


def _escape(found: re.Match[str], offset: int) -> tuple[str, str]:
    kind = found.lastgroup
    assert kind is not None
    if kind == "bad":
        raise BadLiteral(
            offset + found.start(), f"{found[0]!r} is no escape; a backslash is written twice"
        )
    return kind, found[kind]


def string_text(value: str) -> str:
    """A string as it would be written."""
    return f'"{_UNSAFE.sub(_escaped, value)}"'


def bytes_text(value: bytes) -> str:
    """Bytes as they would be written."""
    body = "".join(
        chr(each) if 0x20 <= each < 0x7F and each not in b'"\\' else f"\\x{each:02x}"
        for each in value
    )
    return f'b"{body}"'


def number_literal(value: Any) -> str:
    """A number as it would be written, of the same type."""
    if type(value) is Uint:
        return f"{int(value)}u"
    if type(value) is int:
        return str(value)
    if value != value or value in (float("inf"), float("-inf")):
        return f'double("{value}")'
    return repr(value)


def _escaped(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"
