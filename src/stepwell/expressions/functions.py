"""Functions and methods: what they take, and what they give.

Source: docs/reference/expressions.md, "functions".
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec

from stepwell.errors import WireError
from stepwell.expressions.faults import EvaluationError
from stepwell.expressions.semantics import Frame, spend, spend_chars
from stepwell.expressions.times import (
    PARTS_OF_DURATION,
    PARTS_OF_TIMESTAMP,
    Duration,
    Timestamp,
    at_ms,
    duration_text,
    parse_date,
    parse_duration,
    parse_span,
    parse_timestamp,
    timestamp_of,
    timestamp_text,
)
from stepwell.expressions.values import (
    INT_MAX,
    INT_MIN,
    MISSING,
    NUMBERS,
    TYPES,
    UINT_MAX,
    TypeValue,
    Uint,
    Value,
    as_double,
    number_text,
    type_of,
)
from stepwell.wire.json import decode
from stepwell.wire.quoting import quoted

_PATTERN_MEMORY: Final = 1 << 16
"""Bytes of a compiled pattern; a few thousand states, so that a character costs microseconds."""

_PATTERN_WORK: Final = 2_000
"""To compile a pattern that is not a constant may take a millisecond."""

_READING_WORK: Final = 50
"""To read a time, a time zone or JSON takes a few microseconds at least."""

_NUMBER_CHARS_MAX: Final = 400


class Function(msgspec.Struct, frozen=True):
    """One function or method.

    Attributes:
        apply: Takes the frame, then the target of a method, then the arguments.
        arities: How many arguments it takes, the target not counted.
        gives: The type of its result, where it is always the same.
        checked: A constant argument that it cannot read is refused when the text is read.
        needs_now: The result depends on the time.
    """

    apply: Callable[..., Value]
    arities: tuple[int, ...] = (1,)
    gives: str | None = None
    checked: bool = False
    needs_now: bool = False


def compiled_pattern(pattern: str) -> Any:
    """The pattern of `matches`, in RE2's syntax: linear in the text whatever the pattern.

    Raises:
        EvaluationError: It is no pattern, or too large a one.
    """
    found = _pattern(pattern)
    if isinstance(found, str):
        raise EvaluationError(f"{quoted(pattern)} is no regular expression: {found}")
    return found


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "it cannot be read"
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def search(frame: Frame, pattern: Any, text: str) -> bool:
    """Whether a part of the text matches."""
    spend(frame, len(text) * (1 + pattern.programsize // 32))
    return pattern.search(text) is not None


# --- texts ---


def _size(frame: Frame, value: Value) -> int:
    if value is MISSING:
        return 0
    if isinstance(value, str | bytes | list | tuple | dict):
        return len(value)
    raise EvaluationError(f"a {type_of(value)} has no size")


def _method(name: str, apply: Callable[[Frame, str, str], bool]) -> Function:
    """A method of strings: false if either side is not there."""

    def checked(frame: Frame, text: Value, argument: Value) -> bool:
        if text is MISSING or argument is MISSING:
            return False
        if type(text) is not str or type(argument) is not str:
            raise EvaluationError(
                f"{name}() takes strings, not {type_of(text)} and {type_of(argument)}"
            )
        return apply(frame, text, argument)

    return Function(checked, gives="bool")


def _starts_with(frame: Frame, text: str, part: str) -> bool:
    spend_chars(frame, part)
    return text.startswith(part)


def _ends_with(frame: Frame, text: str, part: str) -> bool:
    spend_chars(frame, part)
    return text.endswith(part)


def _contains(frame: Frame, text: str, part: str) -> bool:
    spend_chars(frame, text)
    return part in text


def _matches(frame: Frame, text: str, pattern: str) -> bool:
    spend(frame, _PATTERN_WORK)
    return search(frame, compiled_pattern(pattern), text)


def _lowercase(frame: Frame, value: Value) -> str:
    return _text("lowercase", frame, value).lower()


def _uppercase(frame: Frame, value: Value) -> str:
    return _text("uppercase", frame, value).upper()


def _b64decode(frame: Frame, value: Value) -> str:
    try:
        return base64.b64decode(_text("b64decode", frame, value), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise EvaluationError(f"{quoted(value)} is not the base64 of a text") from error


def _json_parse(frame: Frame, value: Value) -> Value:
    text = _text("json_parse", frame, value)
    spend(frame, _READING_WORK)
    try:
        found = decode(text)
    except WireError as error:
        raise EvaluationError(f"json_parse() takes JSON: {error.message}") from error
    if type(found) is not dict:
        raise EvaluationError("json_parse() takes the JSON of an object")
    return found


def _text(name: str, frame: Frame, value: Value) -> str:
    if type(value) is not str:
        raise EvaluationError(f"{name}() takes a string, not a {type_of(value)}")
    spend_chars(frame, value)
    return value


# --- conversions ---


def _int(frame: Frame, value: Value) -> int:
    kind = type(value)
    if kind is int or kind is Uint:
        return _ranged(int(value), INT_MIN, INT_MAX)
    if kind is float:
        # A double of 2**63 is the first beyond the range; the one below -2**63 too.
        return _ranged(_cut(value), INT_MIN + 1, INT_MAX)
    if kind is str:
        return _ranged(_digits(value, signed=True), INT_MIN, INT_MAX)
    if kind is Timestamp:
        return int(value.ns // 1_000_000_000)
    raise _no_conversion("int", value)


def _uint(frame: Frame, value: Value) -> Uint:
    kind = type(value)
    if kind is int or kind is Uint:
        return Uint(_ranged(int(value), 0, UINT_MAX))
    if kind is float:
        if value < 0:
            raise _no_conversion("uint", value)
        return Uint(_ranged(_cut(value), 0, UINT_MAX))
    if kind is str:
        return Uint(_ranged(_digits(value, signed=False), 0, UINT_MAX))
    raise _no_conversion("uint", value)


def _double(frame: Frame, value: Value) -> float:
    if type(value) in NUMBERS:
        return as_double(value)
    if type(value) is str and len(value) <= _NUMBER_CHARS_MAX and "_" not in value:
        try:
            number = float(value)
        except ValueError:
            number = None
        if number is not None and value == value.strip():
            return number
    raise _no_conversion("double", value)


def _string(frame: Frame, value: Value) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind in NUMBERS:
        return number_text(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is bytes:
        spend_chars(frame, value)
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError as error:
            raise EvaluationError("the bytes are not UTF-8") from error
    if kind is Timestamp:
        return timestamp_text(value)
    if kind is Duration:
        return duration_text(value)
    raise _no_conversion("string", value)


_BOOLS: Final = {
    **dict.fromkeys(("true", "TRUE", "True", "t", "1"), True),
    **dict.fromkeys(("false", "FALSE", "False", "f", "0"), False),
}


def _bool(frame: Frame, value: Value) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str and value in _BOOLS:
        return _BOOLS[value]
    raise _no_conversion("bool", value)


def _bytes(frame: Frame, value: Value) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is str:
        spend_chars(frame, value)
        return value.encode()
    raise _no_conversion("bytes", value)


def _timestamp(frame: Frame, value: Value) -> Timestamp:
    if type(value) is Timestamp:
        return value
    if type(value) is str:
        spend(frame, _READING_WORK)
        return parse_timestamp(value)
    if type(value) is int:
        return timestamp_of(value * 1_000_000_000)
    raise _no_conversion("timestamp", value)


def _duration(frame: Frame, value: Value) -> Duration:
    if type(value) is Duration:
        return value
    if type(value) is str:
        spend(frame, _READING_WORK)
        return parse_duration(value)
    raise _no_conversion("duration", value)


def _date(frame: Frame, value: Value) -> Timestamp:
    if type(value) is Timestamp:
        return value
    if type(value) is str:
        spend(frame, _READING_WORK)
        return parse_date(value)
    if type(value) is int:
        return at_ms(value)
    if type(value) is float:
        raise EvaluationError("date() takes a string or an integer; write date(int(...))")
    raise _no_conversion("date", value)


def _type(frame: Frame, value: Value) -> TypeValue:
    if value is MISSING:
        raise EvaluationError("what is missing has no type")
    return TYPES[type_of(value)]


def _ranged(number: int, lowest: int, highest: int) -> int:
    if not lowest <= number <= highest:
        raise EvaluationError("the number does not fit in 64 bits")
    return number


def _cut(number: float) -> int:
    if not math.isfinite(number):
        raise EvaluationError(f"{number} is no integer")
    return int(number)


def _digits(text: str, *, signed: bool) -> int:
    digits = text[1:] if signed and text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _NUMBER_CHARS_MAX):
        raise EvaluationError(f"{quoted(text)} is not an integer")
    return int(text)


def _no_conversion(name: str, value: Value) -> EvaluationError:
    seen = quoted(value) if type(value) is str else type_of(value)
    return EvaluationError(f"{name}() cannot be had of {seen}")


# --- time ---


def _now(frame: Frame) -> Timestamp:
    return at_ms(frame.now_ms)


def _now_plus(frame: Frame, span: Value) -> Timestamp:
    return timestamp_of(_now(frame).ns + _span("now_plus", frame, span))


def _now_minus(frame: Frame, span: Value) -> Timestamp:
    return timestamp_of(_now(frame).ns - _span("now_minus", frame, span))


def _span(name: str, frame: Frame, value: Value) -> int:
    if type(value) is str:
        spend(frame, _READING_WORK)
        return parse_span(value).ns
    raise EvaluationError(f'{name}() takes a duration such as "24h", not a {type_of(value)}')


def _part(name: str) -> Function:
    """A method of timestamps with a time zone or none, and for some also of durations."""

    def apply(frame: Frame, value: Value, zone: Value = "UTC") -> int:
        if type(value) is Timestamp and type(zone) is str:
            spend(frame, _READING_WORK)
            return PARTS_OF_TIMESTAMP[name](value, zone)
        if type(value) is Duration and name in PARTS_OF_DURATION and zone == "UTC":
            return PARTS_OF_DURATION[name](value)
        raise EvaluationError(f"{name}() does not go with a {type_of(value)}")

    return Function(apply, (0, 1), gives="int")


_STRING_METHODS: Final = {
    "startsWith": _method("startsWith", _starts_with),
    "endsWith": _method("endsWith", _ends_with),
    "contains": _method("contains", _contains),
    "matches": _method("matches", _matches),
}
METHODS: Final[dict[str, Function]] = {
    **_STRING_METHODS,
    "size": Function(_size, (0,), gives="int"),
    **{name: _part(name) for name in PARTS_OF_TIMESTAMP},
}
FUNCTIONS: Final[dict[str, Function]] = {
    "size": Function(_size, gives="int"),
    "matches": msgspec.structs.replace(_STRING_METHODS["matches"], arities=(2,)),
    "int": Function(_int, gives="int"),
    "uint": Function(_uint, gives="uint"),
    "double": Function(_double, gives="double"),
    "string": Function(_string, gives="string"),
    "bool": Function(_bool, gives="bool"),
    "bytes": Function(_bytes, gives="bytes"),
    "timestamp": Function(_timestamp, gives="google.protobuf.Timestamp", checked=True),
    "duration": Function(_duration, gives="google.protobuf.Duration", checked=True),
    "type": Function(_type, gives="type"),
    "dyn": Function(lambda frame, value: value),
    "lowercase": Function(_lowercase, gives="string"),
    "uppercase": Function(_uppercase, gives="string"),
    "b64decode": Function(_b64decode, gives="string"),
    "json_parse": Function(_json_parse, gives="map"),
    "date": Function(_date, gives="google.protobuf.Timestamp", checked=True),
    "now": Function(_now, (0,), gives="google.protobuf.Timestamp", needs_now=True),
    "now_plus": Function(
        _now_plus, gives="google.protobuf.Timestamp", checked=True, needs_now=True
    ),
    "now_minus": Function(
        _now_minus, gives="google.protobuf.Timestamp", checked=True, needs_now=True
    ),
}
