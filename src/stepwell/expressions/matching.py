"""What an index over many waiting expressions needs: equalities, and values in one form.

Source: docs/reference/wire/expressions.md, "many waits".
"""

from __future__ import annotations

import math
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.expressions.nodes import Binary, Literal, Logic, Node, path_of
from stepwell.expressions.semantics import select
from stepwell.expressions.values import MISSING, NUMBERS, as_double

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TEXT_BYTES_MAX: Final = 64
"""A longer text is indexed by its hash: an index holds many."""

_DOUBLE: Final = struct.Struct(">d")


class Equality(msgspec.Struct, frozen=True):
    """`async.<path> == value`: no event without this value at this place makes it true."""

    path: tuple[str, ...]
    """The fields below `async`."""

    value: str | int | float | bool


def equalities_in(node: Node) -> Iterator[Equality]:
    """The equalities that all must hold for the expression to be true."""
    match node:
        case Logic(operator="&&", operands=operands):
            for each in operands:
                yield from equalities_in(each)
        case Binary(operator="==", left=left, right=right):
            for reference, constant in ((left, right), (right, left)):
                if (found := _equality(reference, constant)) is not None:
                    yield found


def _equality(reference: Node, constant: Node) -> Equality | None:
    path = path_of(reference)
    if path is None or path[0].name != "async" or not isinstance(constant, Literal):
        return None
    keys = tuple(key for key in path[1] if isinstance(key, str))
    value = constant.value
    if not keys or len(keys) < len(path[1]) or index_value(value) is None:
        return None
    return Equality(keys, value)


def never_true(node: Node) -> bool:
    """Whether the expression cannot be true, whatever arrives. False if that is not known."""
    match node:
        case Literal(value=value):
            return value is not True
        case Logic(operator="&&", operands=operands):
            return any(_never_truthy(each) for each in operands[:-1]) or never_true(operands[-1])
        case Logic(operands=operands):
            return all(map(never_true, operands))
    return False


def _never_truthy(node: Node) -> bool:
    return isinstance(node, Literal) and node.value is False


def value_at(variables: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What a reference gives: the value, or `MISSING`.

    Args:
        path: The variable, then the fields: `("async", "data", "id")`.
    """
    value: Any = variables.get(path[0], MISSING)
    for key in path[1:]:
        value = select(value, key)
    return value


def index_value(value: Any) -> bytes | None:
    """A form that two values share exactly if they are equal.

    Returns:
        None for what has none: what is missing, null, lists, maps and times.
    """
    if type(value) is str:
        data = value.encode("utf-8", "surrogatepass")
        if len(data) <= _TEXT_BYTES_MAX:
            return b"s" + data
        return b"h" + blake2b(data, digest_size=16).digest()
    if type(value) is bool:
        return b"t" if value else b"f"
    if type(value) in NUMBERS:
        number = as_double(value)
        # Zero has two signs, which are equal; what is no number equals nothing.
        return None if math.isnan(number) else b"n" + _DOUBLE.pack(number + 0.0)
    return None
