"""JSON from peers, and to them.

Most JSON here is not looked at: it stays the bytes that a peer sent, so numbers keep every digit.
What is bounded, for everything that comes in: the encoding is UTF-8, and nesting is at most
`DEPTH_MAX` deep, so that whatever wraps or reads it later has room on the stack.

A `\\ud83d` without its other half is what a JavaScript program sends that cut a string in the
middle of an emoji. It has no UTF-8 form; it is replaced by U+FFFD, as upstream does.
Source: docs/reference/wire/events.md, "JSON".
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any, TypeAlias, TypeVar

import msgspec

from stepwell.errors import WireError

Json: TypeAlias = Any

DEPTH_MAX = 256
"""Arrays and objects may be nested this deep."""

_T = TypeVar("_T")

_ANY: msgspec.json.Decoder[Json] = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_DEPTH_CHANGE = [1 if byte in b"[{" else -1 for byte in range(256)]
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(raw: bytes | str) -> Json:
    """Read any JSON value.

    Raises:
        WireError: `invalid_json`.
    """
    return decode_with(_ANY, raw)


def decode_with(decoder: msgspec.json.Decoder[_T], raw: bytes | str) -> _T:
    """Read JSON of the decoder's type.

    `msgspec.Raw` inside it may contain numbers that no double holds; everything else is checked.

    Raises:
        WireError: `invalid_json`, for bytes that are not JSON and for values of the wrong type.
    """
    return _read(decoder, raw)[0]


def readable(raw: bytes) -> bytes:
    """The JSON text itself, known to be one that every decoder reads.

    Raises:
        WireError: `invalid_json`.
    """
    return _read(_ANY, raw)[1]


def _read(decoder: msgspec.json.Decoder[_T], raw: bytes | str) -> tuple[_T, bytes]:
    """The value, and the text that it was read from after all."""
    try:
        data = raw.encode() if isinstance(raw, str) else raw
        if not data.isascii():
            data.decode()
        check_depth(data)
        try:
            return decoder.decode(data), data
        except msgspec.DecodeError:
            mended = _mend(data)
            if mended is None:
                raise
            return decoder.decode(mended), mended
    except msgspec.DecodeError as error:
        raise WireError(str(error), code="invalid_json") from error
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise WireError(f"the text is not UTF-8: {error.reason}", code="invalid_json") from error
    except RecursionError as error:
        raise _too_deep() from error


def encode(value: Json) -> bytes:
    """Write a JSON value, compact."""
    return _ENCODER.encode(value)


def canonical(raw: bytes) -> bytes:
    """The RFC 8785 form of a JSON text: sorted keys, numbers as doubles.

    Raises:
        WireError: `invalid_json`; also for numbers that no double holds.
    """
    import jcs  # only those who sign, or check what a proxy has formatted, need it

    try:
        form: bytes = jcs.canonicalize(decode(raw))
    except OverflowError as error:
        raise WireError("a number is too large for a double", code="invalid_json") from error
    return form


def check_depth(raw: bytes, depth_max: int = DEPTH_MAX) -> None:
    """Refuse JSON that is nested too deep. Linear in its size; nothing else is checked.

    Raises:
        WireError: `invalid_json`.
    """
    # Fewer brackets than the limit is the usual case, and cheap to see.
    if raw.count(b"[") + raw.count(b"{") <= depth_max:
        return
    # What remains are brackets and the quotes round strings. Two quotes with nothing between
    # them tell nothing, whichever they are; every second piece of the rest is a string.
    unescaped = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = unescaped.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    brackets = b"".join(structure.split(b'"')[::2])
    depths = accumulate(map(_DEPTH_CHANGE.__getitem__, brackets))
    if next(filter(depth_max.__lt__, depths), None) is not None:
        raise _too_deep(depth_max)


def _too_deep(depth_max: int = DEPTH_MAX) -> WireError:
    return WireError(
        f"arrays and objects may be nested {depth_max} deep, this is deeper", code="invalid_json"
    )


def _mend(raw: bytes) -> bytes | None:
    """Replace halves of surrogate pairs; None if there is none."""
    if not _SURROGATE.search(raw):
        return None
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found["lone"] else found[0], raw)
