"""What the operators do with any two values.

Sources: docs/reference/expressions.md, "missing fields" to "texts".
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stepwell.expressions.faults import EvaluationError, UnknownValue, WorkExceeded
from stepwell.expressions.times import Duration, Timestamp, duration_of, timestamp_of
from stepwell.expressions.values import (
    EXACT_MAX,
    INT_MAX,
    INT_MIN,
    MISSING,
    NUMBERS,
    UINT_MAX,
    MapValue,
    Uint,
    Value,
    as_double,
    elements,
    loaded,
    map_key,
    number_text,
    type_of,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

WORK_MAX: Final = 1_000_000
"""About 0.1 s: a unit is what it costs to evaluate one node of an expression."""

_CHARS_WORTH: Final = 3
"""To copy or compare 2**3 characters costs a unit."""

_ELEMENT_WORK: Final = 4
"""To compare two elements of lists or maps."""


class Frame:
    """One evaluation: what it sees, and how much work it may still do."""

    __slots__ = ("bound", "now_ms", "variables", "work")

    def __init__(self, variables: Mapping[str, Any], now_ms: int, slots: int) -> None:
        self.variables = variables
        self.now_ms = now_ms
        self.bound: list[Any] = [None] * slots if slots else _NO_SLOTS
        self.work = WORK_MAX


_NO_SLOTS: list[Any] = []

Run: TypeAlias = Callable[[Frame], Value]
"""A compiled expression, or a part of one."""


def spend(frame: Frame, work: int) -> None:
    """Raises `WorkExceeded` when too much was done."""
    frame.work -= work
    if frame.work < 0:
        raise WorkExceeded("the expression takes too long for this much data")


def spend_chars(frame: Frame, text: str | bytes) -> None:
    """The same for a text that is copied or searched."""
    spend(frame, len(text) >> _CHARS_WORTH)


# --- comparison ---


def equal(frame: Frame, left: Value, right: Value) -> bool:
    """Whether two values are the same. What is missing equals nothing, not even itself."""
    kind, other = type(left), type(right)
    if kind in NUMBERS:
        return other in NUMBERS and _same_number(left, right)
    if kind is str or kind is bytes:
        if other is not kind or len(left) != len(right):
            return False
        spend_chars(frame, left)
        return bool(left == right)
    if kind is list or kind is tuple:
        if (other is not list and other is not tuple) or len(left) != len(right):
            return False
        spend(frame, _ELEMENT_WORK * len(left))
        for each, its in zip(elements(left), elements(right), strict=True):
            if not equal(frame, each, its):
                return False
        return True
    if isinstance(left, dict):
        if not isinstance(right, dict) or len(left) != len(right):
            return False
        spend(frame, _ELEMENT_WORK * len(left))
        for key in left:
            name = key[0] if type(key) is tuple else key
            if not equal(frame, select(left, name), select(right, name)):
                return False
        return True
    return left is not MISSING and kind is other and bool(left == right)


def _same_number(left: float, right: float) -> bool:
    if type(left) is float or type(right) is float:
        return as_double(left) == as_double(right)
    return left == right


def is_null(value: Value) -> bool:
    """What `== null` asks: the value is null or not there."""
    return value is None or value is MISSING


_HOLDS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERED: Final = frozenset((bool, str, bytes, Timestamp, Duration))
_ZEROS: Final[dict[type, Value]] = {
    bool: False,
    str: "",
    bytes: b"",
    float: 0.0,
    int: 0,
    Uint: Uint(0),
    Timestamp: Timestamp(0),
    Duration: Duration(0),
}


def compare(frame: Frame, sign: str, left: Value, right: Value) -> bool:
    """`<`, `<=`, `>` or `>=`. What is missing is less than anything; null is the other's zero."""
    if left is MISSING or right is MISSING:
        return (left is MISSING) is not (right is MISSING) and (left is MISSING) is (sign[0] == "<")
    kind, other = type(left), type(right)
    if kind in NUMBERS and other in NUMBERS:
        if kind is float or other is float:
            return _HOLDS[sign](as_double(left), as_double(right))
        return _HOLDS[sign](left, right)
    if kind is other and kind in _ORDERED:
        if kind is str or kind is bytes:
            spend_chars(frame, min(left, right, key=len))
        return _HOLDS[sign](left, right)
    if left is None and right is None:
        return sign in ("<=", ">=")
    if left is None and other in _ZEROS:
        return compare(frame, sign, _ZEROS[other], right)
    if right is None and kind in _ZEROS:
        return compare(frame, sign, left, _ZEROS[kind])
    raise EvaluationError(f"a {type_of(left)} and a {type_of(right)} have no order")


def contains(frame: Frame, needle: Value, haystack: Value) -> bool:
    """`in`: an element of a list, or a key of a map. What is missing is in nothing."""
    if haystack is MISSING or needle is MISSING:
        return False
    if isinstance(haystack, dict):
        return map_key(needle) in haystack
    if type(haystack) is not list and type(haystack) is not tuple:
        raise EvaluationError(f"in takes a list or a map, not a {type_of(haystack)}")
    spend(frame, _ELEMENT_WORK * len(haystack))
    return any(equal(frame, needle, each) for each in elements(haystack))


# --- access ---


def select(value: Value, key: Value) -> Value:
    """A field or an element; missing if the value has none such."""
    if isinstance(value, dict):
        found = value.get(map_key(key), MISSING) if key is not MISSING else MISSING
        return loaded(found) if type(value) is dict else found
    if type(value) is list or type(value) is tuple:
        at = whole(key)
        if at is None or not 0 <= at < len(value):
            return MISSING
        return loaded(value[at]) if type(value) is list else value[at]
    return MISSING


def has_field(value: Value, field: str) -> bool:
    """`has(value.field)`. Without the map there is no answer."""
    if not isinstance(value, dict):
        raise UnknownValue(f"has() asked for a field of a {type_of(value)}")
    return field in value


# --- arithmetic ---


def add(frame: Frame, left: Value, right: Value) -> Value:
    """`+`: of numbers, texts, bytes, lists and times. What is missing adds nothing."""
    if left is MISSING:
        return right
    if right is MISSING:
        return left
    kind, other = type(left), type(right)
    if kind in NUMBERS and other in NUMBERS:
        return _number(left, right, left + right)
    if kind is str or other is str:
        return _joined(frame, left, right)
    if kind is bytes and other is bytes:
        spend_chars(frame, left)
        spend_chars(frame, right)
        return left + right
    if kind in (list, tuple) and other in (list, tuple):
        spend(frame, len(left) + len(right))
        return (*elements(left), *elements(right))
    if kind is Timestamp and other is Duration:
        return timestamp_of(left.ns + right.ns)
    if kind is Duration and other is Timestamp:
        return timestamp_of(left.ns + right.ns)
    if kind is Duration and other is Duration:
        return duration_of(left.ns + right.ns)
    raise _no_operator("+", left, right)


def _joined(frame: Frame, left: Value, right: Value) -> str:
    texts = [_plain(left, right), _plain(right, left)]
    for text in texts:
        spend_chars(frame, text)
    return "".join(texts)


def _plain(value: Value, beside: Value) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind in NUMBERS:
        return number_text(value)
    raise _no_operator("+", value, beside)


def subtract(frame: Frame, left: Value, right: Value) -> Value:
    """`-`: of numbers and times."""
    kind, other = type(left), type(right)
    if kind in NUMBERS and other in NUMBERS:
        return _number(left, right, left - right)
    if kind is Timestamp and other is Timestamp:
        return duration_of(left.ns - right.ns)
    if kind is Timestamp and other is Duration:
        return timestamp_of(left.ns - right.ns)
    if kind is Duration and other is Duration:
        return duration_of(left.ns - right.ns)
    raise _no_operator("-", left, right)


def multiply(frame: Frame, left: Value, right: Value) -> Value:
    """`*` of numbers."""
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return _number(left, right, left * right)
    raise _no_operator("*", left, right)


def divide(frame: Frame, left: Value, right: Value) -> Value:
    """`/` of numbers: two integers give an integer, cut off; anything else a double."""
    if type(left) not in NUMBERS or type(right) not in NUMBERS:
        raise _no_operator("/", left, right)
    if type(left) is float or type(right) is float:
        return _quotient(as_double(left), as_double(right))
    if right == 0:
        raise EvaluationError("division by zero")
    quotient = abs(left) // abs(right)
    return _number(left, right, quotient if (left < 0) is (right < 0) else -quotient)


def _quotient(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def remainder(frame: Frame, left: Value, right: Value) -> Value:
    """`%` of integers, with the sign of the left one. Doubles without a fraction are integers."""
    first, second = whole(left), whole(right)
    if first is None or second is None:
        raise _no_operator("%", left, right)
    if second == 0:
        raise EvaluationError("division by zero")
    rest = abs(first) % abs(second)
    integers = [each for each in (left, right) if type(each) is not float] or [first]
    return _number(integers[0], integers[-1], rest if first >= 0 else -rest)


def negate(value: Value) -> Value:
    """`-` before a number or a duration."""
    if type(value) is float:
        return -value
    if type(value) is int:
        return _number(value, value, -value)
    if type(value) is Duration:
        return duration_of(-value.ns)
    raise EvaluationError(f"- takes a number, not a {type_of(value)}")


def invert(value: Value) -> bool:
    """`!`: of a bool; what is missing gives false."""
    if type(value) is bool:
        return not value
    if value is MISSING:
        return False
    raise EvaluationError(f"! takes a bool, not a {type_of(value)}")


def _number(left: float, right: float, result: float) -> float:
    """The result in the type of the operands: a double if one is a double, else 64 bits."""
    if type(left) is float or type(right) is float:
        return as_double(result)
    if type(left) is Uint or type(right) is Uint:
        if not 0 <= result <= UINT_MAX:
            raise EvaluationError("the result is no unsigned integer of 64 bits")
        return Uint(int(result))
    if not INT_MIN <= result <= INT_MAX:
        raise EvaluationError("the result is no integer of 64 bits")
    return int(result)


def _no_operator(sign: str, left: Value, right: Value) -> EvaluationError:
    return EvaluationError(f"{sign} does not go with {type_of(left)} and {type_of(right)}")


ARITHMETIC: Final[dict[str, Callable[[Frame, Value, Value], Value]]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": remainder,
}


def is_exact(number: float) -> bool:
    """Whether every comparison of the number as an integer and as a double agrees."""
    return -EXACT_MAX < number < EXACT_MAX


def made_map(entries: list[tuple[Value, Value]]) -> MapValue:
    """A map of these keys and values; a key twice is an error."""
    made = MapValue()
    for key, value in entries:
        name = map_key(key)
        if name in made:
            raise EvaluationError("a key is twice in a map")
        made[name] = value
    return made
