"""Tree to text, so that what was interpolated can be stored and shown, and reads back the same.

A value out of an event is written as a constant. Where a constant of the text would be treated
differently (a null that is compared, an operand that is checked when the text is read) it is
written as the element of a list, `[null][0]`; what is missing is `{}.missing`.
"""

from __future__ import annotations

from typing import Any, Final

from stepwell.expressions.functions import FUNCTIONS
from stepwell.expressions.literals import bytes_text, number_literal, string_text
from stepwell.expressions.nodes import (
    Binary,
    Call,
    Choice,
    Has,
    Index,
    ListOf,
    Literal,
    Logic,
    Macro,
    MapOf,
    Name,
    Negate,
    Node,
    Not,
    Select,
)
from stepwell.expressions.semantics import is_exact
from stepwell.expressions.times import Duration, Timestamp, duration_text, timestamp_text
from stepwell.expressions.values import MISSING, NUMBERS, TypeValue, elements, keys, loaded, map_key

_CHOICE, _EITHER, _BOTH, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER = range(8)
_LEVELS: Final = {
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), _RELATION),
    **dict.fromkeys(("+", "-"), _SUM),
    **dict.fromkeys(("*", "/", "%"), _PRODUCT),
}


def print_node(node: Node) -> str:
    """The text of the tree."""
    return _text(node, _CHOICE)


def _text(node: Node, level: int) -> str:
    own, text = _own(node)
    return f"({text})" if own < level else text


def _own(node: Node) -> tuple[int, str]:
    """The node's level, and its text without parentheses."""
    match node:
        case Literal():
            return _literal(node)
        case Name(name=name):
            return _MEMBER, name
        case Select(operand=operand, field=field):
            return _MEMBER, f"{_text(operand, _MEMBER)}.{field}"
        case Index(operand=operand, key=key):
            return _MEMBER, f"{_text(operand, _MEMBER)}[{print_node(key)}]"
        case Has(operand=operand, field=field):
            return _MEMBER, f"has({_text(operand, _MEMBER)}.{field})"
        case Not(operand=operand):
            return _UNARY, f"!{_apart(operand, _UNARY)}"
        case Negate(operand=operand):
            return _UNARY, f"-{_apart(operand, _MEMBER)}"
        case Binary(operator=sign, left=left, right=right):
            return _binary(sign, left, right)
        case Logic(operator="&&", operands=operands):
            return _BOTH, " && ".join(_text(each, _BOTH + 1) for each in operands)
        case Logic(operands=operands):
            return _EITHER, " || ".join(_text(each, _EITHER + 1) for each in operands)
        case Choice(test=test, yes=yes, no=no):
            return _CHOICE, f"{_text(test, _EITHER)} ? {_text(yes, _EITHER)} : {_text(no, _CHOICE)}"
        case ListOf(items=items):
            return _MEMBER, f"[{', '.join(map(print_node, items))}]"
        case MapOf(entries=entries):
            pairs = ", ".join(f"{print_node(key)}: {print_node(it)}" for key, it in entries)
            return _MEMBER, f"{{{pairs}}}"
        case Call():
            return _MEMBER, _call(node)
        case Macro(kind=kind, range=over, variable=variable, filter=chosen, body=body):
            inside = ", ".join((variable, *(print_node(each) for each in (chosen, body) if each)))
            return _MEMBER, f"{_text(over, _MEMBER)}.{kind}({inside})"
    raise AssertionError(f"no such node: {node}")


def _binary(sign: str, left: Node, right: Node) -> tuple[int, str]:
    level = _LEVELS[sign]
    if sign == "%":
        return level, f"{_apart(left, level)} % {_apart(right, level + 1)}"
    if level == _RELATION:
        return level, f"{_compared(left, level)} {sign} {_compared(right, level + 1)}"
    return level, f"{_text(left, level)} {sign} {_text(right, level + 1)}"


def _compared(node: Node, level: int) -> str:
    """A number that is only compared reads best without a fraction."""
    match node:
        case Literal(value=float() as value) if value.is_integer() and is_exact(value):
            return str(int(value))
    return _text(node, level)


def _call(node: Call) -> str:
    checked = node.name == "matches" or (node.target is None and FUNCTIONS[node.name].checked)
    shown = _apart if checked else _text
    arguments = ", ".join(shown(each, _CHOICE) for each in node.arguments)
    if node.target is None:
        return f"{node.name}({arguments})"
    return f"{_text(node.target, _MEMBER)}.{node.name}({arguments})"


def _apart(node: Node, level: int) -> str:
    """A constant that came out of an event, so that it is not checked as one of the text."""
    if isinstance(node, Literal) and not node.written and node.value is not MISSING:
        return f"[{_value(node.value)}][0]"
    return _text(node, level)


def _literal(node: Literal) -> tuple[int, str]:
    value = node.value
    if value is MISSING:
        return _MEMBER, "{}.missing"
    if value is None and not node.written:
        return _MEMBER, "[null][0]"
    text = _value(value)
    return _UNARY if text.startswith("-") else _MEMBER, text


def _value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return string_text(value)
        case bytes():
            return bytes_text(value)
        case Timestamp():
            return f'timestamp("{timestamp_text(value)}")'
        case Duration():
            return f'duration("{duration_text(value)}")'
        case TypeValue():
            return value.name
        case list() | tuple():
            return f"[{', '.join(map(_value, elements(value)))}]"
        case dict():
            load = loaded if type(value) is dict else _as_is
            pairs = (f"{_value(key)}: {_value(load(value[map_key(key)]))}" for key in keys(value))
            return f"{{{', '.join(pairs)}}}"
    if value is MISSING:
        return "{}.missing"
    assert type(value) in NUMBERS
    return number_literal(value)


def _as_is(value: Any) -> Any:
    return value
