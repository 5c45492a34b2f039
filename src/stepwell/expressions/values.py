"""The values of expressions, and what is true of each whatever the operator.

| Value | In Python |
| --- | --- |
| what is not there | `MISSING` |
| null, bool, string, bytes | `None`, `bool`, `str`, `bytes` |
| int, uint, double | `int`, `Uint`, `float` |
| a list or map that an expression made | `tuple`, `MapValue` |
| a list or map out of an event | `list`, `dict` |
| timestamp, duration, type | `Timestamp`, `Duration`, `TypeValue` |

Every JSON number is a double, but a decoder makes an `int` of `6`. So lists and maps out of an
event are kept apart from those that an expression made: what is taken out of them goes through
`loaded`, and nothing has to be copied first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from stepwell.expressions.faults import EvaluationError
from stepwell.expressions.times import Duration, Timestamp, duration_text, timestamp_text

if TYPE_CHECKING:
    from collections.abc import Iterator

Value: TypeAlias = Any

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
EXACT_MAX: Final = 2**53
"""Up to here a double holds every integer."""


class Missing:
    """What a reference gives whose field is not there. It is not null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()


class Uint(int):
    """An unsigned integer: `6u`."""

    __slots__ = ()


class MapValue(dict[Any, Any]):
    """A map that an expression made. Its keys are those of `map_key`."""


class TypeValue(msgspec.Struct, frozen=True):
    """What `type()` gives."""

    name: str


TYPES: Final = {
    name: TypeValue(name)
    for name in (
        *("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"),
        *("google.protobuf.Duration", "google.protobuf.Timestamp"),
    )
}
_TYPE_OF: Final[dict[type, str]] = {
    bool: "bool",
    bytes: "bytes",
    float: "double",
    int: "int",
    list: "list",
    tuple: "list",
    dict: "map",
    MapValue: "map",
    type(None): "null_type",
    str: "string",
    TypeValue: "type",
    Uint: "uint",
    Duration: "google.protobuf.Duration",
    Timestamp: "google.protobuf.Timestamp",
}
NUMBERS: Final = frozenset((int, float, Uint))
"""The types that are numbers; `bool` is none."""

_FALSY = frozenset((0, "", None, MISSING))


def type_of(value: Value) -> str:
    """The name of the value's type; `missing` for what is not there."""
    return _TYPE_OF.get(type(value), "missing")


def loaded(value: Value) -> Value:
    """A value as it comes out of an event: its numbers are doubles."""
    return as_double(value) if type(value) is int else value


def as_double(number: float) -> float:
    """The number as a double; one that is too large becomes infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def is_truthy(value: Value) -> bool:
    """Whether `&&`, `||` and `?:` take the value for true: all but missing, null, false, the empty
    string and zero. Empty lists and maps are true."""
    kind = type(value)
    if kind is bool:
        return value is True
    if kind is str or kind in NUMBERS:
        return bool(value)
    return value is not None and value is not MISSING


def elements(sequence: list[Value] | tuple[Value, ...]) -> Iterator[Value]:
    """The elements of a list, as values."""
    return iter(sequence) if type(sequence) is tuple else map(loaded, sequence)


def map_key(key: Value) -> Any:
    """The key under which a map keeps it: numbers that are equal are one key, `true` is not 1.

    Raises:
        EvaluationError: What is no string, number or bool cannot be a key.
    """
    kind = type(key)
    if kind is str or kind is int or kind is Uint:
        return key
    if kind is float:
        return int(key) if key.is_integer() else key
    if kind is bool:
        return (key,)
    raise EvaluationError(f"a {type_of(key)} cannot be the key of a map")


def keys(mapping: dict[Any, Value]) -> Iterator[Value]:
    """The keys of a map, as values."""
    return (key[0] if type(key) is tuple else key for key in mapping)


def whole(number: Value) -> int | None:
    """The number as an integer, if it is one: 6 and 6.0 are, 5.5 is not."""
    kind = type(number)
    if kind is int or kind is Uint:
        return int(number)
    if kind is float and number.is_integer():
        return int(number)
    return None


def number_text(number: float) -> str:
    """A number as people write it: `6`, `5.5`, `1e+21`."""
    if type(number) is not float:
        return str(int(number))
    if number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    return repr(number)


def key_text(value: Value) -> str | None:
    """A value as the key of a flow control: `5`, `5.5`, `true`, `abc`, `[1 x]`, `map[a:1]`.

    Returns:
        None for what is not there, so that the caller can tell it from null, which is `null`.
    """
    return None if value is MISSING else _text(value)


def _text(value: Value) -> str:
    match value:
        case str():
            return value
        case None | Missing():
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number_text(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case list() | tuple():
            return f"[{' '.join(_text(each) for each in elements(value))}]"
        case dict():
            pairs = sorted((_text(key), value[map_key(key)]) for key in keys(value))
            return f"map[{' '.join(f'{key}:{_text(loaded(each))}' for key, each in pairs)}]"
        case Timestamp():
            return timestamp_text(value)
        case Duration():
            return duration_text(value)
        case TypeValue():
            return value.name
    raise EvaluationError("a value of this kind has no text")
