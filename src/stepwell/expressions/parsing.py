"""Text to tree.

The parser is built when the first expression is read: a server without one never pays for it.
It calls `_Tree` for each rule as it goes, so nothing recurses, however deep the text is nested.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from stepwell.expressions.faults import ExpressionError
from stepwell.expressions.grammar import GRAMMAR, RESERVED, ROUGH_TOKEN, TOKENS
from stepwell.expressions.literals import (
    BadLiteral,
    read_double,
    read_int,
    read_string,
    read_uint,
)
from stepwell.expressions.nodes import (
    DEPTH_MAX,
    MACROS,
    NODES_MAX,
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
    measure,
)
from stepwell.expressions.values import MISSING
from stepwell.wire.quoting import shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from lark import Lark, Token
    from lark.exceptions import UnexpectedInput

CHARS_MAX: Final = 64 * 1024
"""Room for the literals of an event in an interpolated expression; `NODES_MAX` bounds the rest."""

_TOKENS_MAX: Final = 3 * NODES_MAX
"""More tokens make too many parts in any case, or are parentheses for their own sake."""

_READ: Final[dict[str, Callable[[str], Any]]] = {
    "INT": read_int,
    "UINT": read_uint,
    "FLOAT": read_double,
    "STRING": read_string,
    "TRUE": lambda _: True,
    "FALSE": lambda _: False,
    "NULL": lambda _: None,
}
_TOO_MANY: Final = f"an expression has at most {NODES_MAX} parts"
_WORD: Final = re.compile(r"\w+|[=!<>]=|&&|\|\||\S")


def parse(text: str) -> Node:
    """Read an expression; names, functions and types are not looked at yet.

    Raises:
        ExpressionError: It is no expression, or too large a one.
    """
    if len(text) > CHARS_MAX:
        raise ExpressionError(
            text, CHARS_MAX, f"an expression has at most {CHARS_MAX} characters, this has more"
        )
    if len(text) > _TOKENS_MAX:
        tokens = islice(ROUGH_TOKEN.finditer(text), _TOKENS_MAX, None)
        if (one_more := next(tokens, None)) is not None:
            raise ExpressionError(text, one_more.start(), f"{_TOO_MANY}, this has more")
    if not text.strip():
        raise ExpressionError(text, 0, "it is empty; expected a value")
    from lark.exceptions import UnexpectedInput

    try:
        tree: Any = _parser().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(text, error) from None
    except _Refused as error:
        raise ExpressionError(text, error.at, error.reason) from error.__cause__
    assert isinstance(tree, Node)
    return tree


@cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=False, transformer=_Tree())


class _Refused(Exception):
    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


def _unexpected(text: str, error: UnexpectedInput) -> ExpressionError:
    at = -1 if error.pos_in_stream is None else error.pos_in_stream
    ends = at < 0 or getattr(getattr(error, "token", None), "type", "") == "$END"
    at = len(text.rstrip()) if ends else at
    seen = "the text ends here" if ends else f"{_seen(text, at)} is not expected here"
    return ExpressionError(text, at, f"{seen}; {_expected(_accepted(text))}")


def _accepted(text: str) -> set[str]:
    """The tokens that could have followed: found by reading once more, as errors are rare."""
    from lark.exceptions import UnexpectedInput

    reader = _parser().parse_interactive(text)
    with suppress(UnexpectedInput, _Refused):
        for _ in reader.iter_parse():
            pass
    return set(reader.accepts())  # type: ignore[no-untyped-call]


def _seen(text: str, at: int) -> str:
    found = _WORD.match(text, at)
    word = found[0] if found else "a space"
    return "'\"'" if word == '"' else f'"{shortened(word, 20)}"'


def _expected(tokens: set[str]) -> str:
    names = sorted({TOKENS[token] for token in tokens if token in TOKENS})
    if "a value" in names:
        names = ["a value"]
    elif not names:
        names = ["a name"]
    return f"expected {' or '.join(names)}"


def _sized(at: int, below: tuple[Node, ...]) -> tuple[int, int]:
    depth, size = measure(below)
    if depth > DEPTH_MAX:
        raise _Refused(at, f"expressions are nested {DEPTH_MAX} deep at most, this is deeper")
    if size > NODES_MAX:
        raise _Refused(at, f"{_TOO_MANY}, this has more")
    return depth, size


class _Tree:
    """One method for each rule of the grammar: lark calls it with what the rule's parts became.

    `{}.missing` and `[x][0]` become constants at once: so an interpolated expression spells what
    is missing, and a value that is none of the text's own.
    """

    def literal(self, parts: list[Token]) -> Node:
        (token,) = parts
        at = token.start_pos or 0
        try:
            return Literal(at=at, value=_READ[token.type](token))
        except BadLiteral as error:
            raise _Refused(at + error.at, error.reason) from error

    def name(self, parts: list[Token]) -> Node:
        (token,) = parts
        at = token.start_pos or 0
        if token in RESERVED:
            raise _Refused(at, f'"{token}" is a reserved word, it names no variable')
        return Name(at=at, name=str(token))

    def select(self, parts: list[Any]) -> Node:
        operand, field = parts
        if isinstance(operand, MapOf) and not operand.entries:
            return Literal(at=operand.at, value=MISSING, written=False)
        depth, size = _sized(field.start_pos, (operand,))
        return Select(at=field.start_pos, operand=operand, field=str(field), depth=depth, size=size)

    def index(self, parts: list[Any]) -> Node:
        operand, bracket, key = parts
        match operand, key:
            case ListOf(items=(Literal() as only,)), Literal(value=0):
                return Literal(at=operand.at, value=only.value, written=False)
        depth, size = _sized(bracket.start_pos, (operand, key))
        return Index(at=bracket.start_pos, operand=operand, key=key, depth=depth, size=size)

    def arguments(self, parts: list[Node]) -> tuple[Node, ...]:
        return tuple(parts)

    def function(self, parts: list[Any]) -> Node:
        name, arguments = parts[0], parts[2] if len(parts) > 2 else ()
        if name == "has":
            return self._has(name.start_pos, arguments)
        depth, size = _sized(name.start_pos, arguments)
        return Call(
            at=name.start_pos,
            name=str(name),
            target=None,
            arguments=arguments,
            depth=depth,
            size=size,
        )

    def _has(self, at: int, arguments: tuple[Node, ...]) -> Node:
        if len(arguments) != 1 or not isinstance(arguments[0], Select):
            raise _Refused(at, "has() takes one field, such as has(event.data.id)")
        field = arguments[0]
        return Has(
            at=at, operand=field.operand, field=field.field, depth=field.depth, size=field.size
        )

    def method(self, parts: list[Any]) -> Node:
        target, name, arguments = parts[0], parts[1], parts[3] if len(parts) > 3 else ()
        at = name.start_pos
        depth, size = _sized(at, (target, *arguments))
        if name in MACROS:
            return self._macro(at, str(name), target, arguments, depth, size)
        return Call(
            at=at, name=str(name), target=target, arguments=arguments, depth=depth, size=size
        )

    def _macro(
        self, at: int, kind: str, over: Node, arguments: tuple[Node, ...], depth: int, size: int
    ) -> Node:
        allowed = (2, 3) if kind == "map" else (2,)
        if len(arguments) not in allowed or not isinstance(arguments[0], Name):
            raise _Refused(
                at,
                f"{kind}() takes a name and an expression, such as event.data.tags.{kind}(x, x.ok)",
            )
        return Macro(
            at=at,
            kind=kind,
            range=over,
            variable=arguments[0].name,
            filter=arguments[1] if len(arguments) == 3 else None,
            body=arguments[-1],
            depth=depth,
            size=size,
        )

    def negation(self, parts: list[Any]) -> Node:
        sign, operand = parts
        at = sign.start_pos
        if sign.type == "MINUS" and isinstance(operand, Literal) and _is_signed(operand.value):
            return Literal(at=at, value=-operand.value)
        depth, size = _sized(at, (operand,))
        kind = Not if sign.type == "NOT" else Negate
        return kind(at=at, operand=operand, depth=depth, size=size)

    def binary(self, parts: list[Any]) -> Node:
        left, operator, right = parts
        depth, size = _sized(operator.start_pos, (left, right))
        return Binary(
            at=operator.start_pos,
            operator=str(operator),
            left=left,
            right=right,
            depth=depth,
            size=size,
        )

    def both(self, parts: list[Node]) -> Node:
        return self._logic("&&", parts)

    def either(self, parts: list[Node]) -> Node:
        return self._logic("||", parts)

    def _logic(self, operator: str, parts: list[Node]) -> Node:
        depth, size = _sized(parts[0].at, tuple(parts))
        return Logic(
            at=parts[0].at, operator=operator, operands=tuple(parts), depth=depth, size=size
        )

    def choice(self, parts: list[Node]) -> Node:
        test, yes, no = parts
        depth, size = _sized(test.at, (test, yes, no))
        return Choice(at=test.at, test=test, yes=yes, no=no, depth=depth, size=size)

    def list_of(self, parts: list[Any]) -> Node:
        bracket, items = parts[0], parts[1] if len(parts) > 1 else ()
        depth, size = _sized(bracket.start_pos, items)
        return ListOf(at=bracket.start_pos, items=items, depth=depth, size=size)

    def map_of(self, parts: list[Any]) -> Node:
        brace, entries = parts[0], parts[1] if len(parts) > 1 else ()
        below = tuple(each for entry in entries for each in entry)
        depth, size = _sized(brace.start_pos, below)
        return MapOf(at=brace.start_pos, entries=entries, depth=depth, size=size)

    def entries(self, parts: list[tuple[Node, Node]]) -> tuple[tuple[Node, Node], ...]:
        return tuple(parts)

    def entry(self, parts: list[Node]) -> tuple[Node, Node]:
        return parts[0], parts[1]


def _is_signed(value: Any) -> bool:
    return type(value) in (int, float) and value > 0
