"""What can be told of an expression before any event: names, functions, types, the policy.

Sources: docs/reference/wire/expressions.md, "refused at registration" and "restricted".
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn

from stepwell.expressions.faults import EvaluationError, ExpressionError
from stepwell.expressions.functions import FUNCTIONS, METHODS, Function, compiled_pattern
from stepwell.expressions.nodes import (
    MACROS,
    VARIABLES,
    Binary,
    Call,
    Choice,
    Has,
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
    children,
    path_of,
)
from stepwell.expressions.semantics import Frame
from stepwell.expressions.values import INT_MAX, TYPES, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class Policy(Enum):
    """How much of the language an expression may use."""

    FULL = "full"
    RESTRICTED = "restricted"
    """References, constants, comparison, logic, `in`, and the conversions of numbers."""


_RESTRICTED_FUNCTIONS: Final = ("int", "uint", "double")
_ARITHMETIC: Final = ("+", "-", "*", "/", "%")
_COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=", "in")


def check(text: str, root: Node, policy: Policy) -> None:
    """Refuse what can never work.

    Raises:
        ExpressionError: With the place.
    """
    _Check(text, policy).node(root, frozenset())


def static_type(node: Node) -> str | None:
    """The type that the node's value always has; None if that is not known."""
    match node:
        case Literal(written=True, value=value):
            return type_of(value)
        case Not() | Has():
            return "bool"
        case Binary(operator=operator) if operator in _COMPARISONS:
            return "bool"
        case Binary(operator="+" | "-" | "*" | "/", left=left, right=right):
            kind = static_type(left)
            return kind if kind == static_type(right) else None
        case Negate(operand=operand):
            return static_type(operand)
        case Call(name=name, target=None):
            return FUNCTIONS[name].gives if name in FUNCTIONS else None
        case Call(name=name):
            return METHODS[name].gives if name in METHODS else None
        case ListOf() | Macro(kind="map" | "filter"):
            return "list"
        case MapOf():
            return "map"
        case Macro():
            return "bool"
        case Logic(operands=operands):
            return _common(operands)
        case Choice(yes=yes, no=no):
            return _common((yes, no))
    return None


def _common(nodes: Iterable[Node]) -> str | None:
    kinds = {static_type(node) for node in nodes}
    return kinds.pop() if len(kinds) == 1 else None


class _Check:
    def __init__(self, text: str, policy: Policy) -> None:
        self._text = text
        self._restricted = policy is Policy.RESTRICTED

    def _refuse(self, node: Node, reason: str) -> NoReturn:
        raise ExpressionError(self._text, node.at, reason)

    def node(self, node: Node, bound: frozenset[str]) -> None:
        """Check the node and all below, where macros have bound these names."""
        match node:
            case Literal(value=value):
                if type(value) is int and value > INT_MAX:
                    self._refuse(node, "an integer has 64 bits at most, this one has more")
            case Name(name=name):
                self._name(node, name, bound)
            case Select() if self._is_type(node, bound):
                return
            case Not(operand=operand):
                if static_type(operand) not in (None, "bool"):
                    self._refuse(node, f"! takes a bool, not a {static_type(operand)}")
            case Negate():
                self._allow(node, "- (arithmetic)")
            case Binary(operator=operator) if operator in _ARITHMETIC:
                self._allow(node, f"{operator} (arithmetic)")
                if operator == "%" and "double" in map(static_type, children(node)):
                    self._refuse(node, "% takes integers, this is a double; write int(...)")
            case Call(target=None, name=name, arguments=arguments):
                self._function(node, name, arguments)
            case Call(name=name, arguments=arguments):
                self._method(node, name, arguments)
            case Has():
                self._allow(node, "has()")
            case Macro(kind=kind, range=over, variable=variable, filter=chosen, body=body):
                self._allow(node, f"{kind}()")
                self.node(over, bound)
                for each in (chosen, body):
                    if each is not None:
                        self.node(each, bound | {variable})
                return
        for below in children(node):
            self.node(below, bound)

    def _allow(self, node: Node, what: str) -> None:
        if self._restricted:
            self._refuse(
                node,
                f"{what} is not allowed here; expected comparisons, && || ! ?:, in, and int(), "
                "uint() or double()",
            )

    def _name(self, node: Node, name: str, bound: frozenset[str]) -> None:
        if name in bound or name in VARIABLES or name in TYPES:
            return
        known = " or ".join(VARIABLES)
        self._refuse(node, f'there is no variable "{name}"; expected {known}, or a text in quotes')

    @staticmethod
    def _is_type(node: Node, bound: frozenset[str]) -> bool:
        found = path_of(node)
        if found is None or found[0].name in bound:
            return False
        return ".".join((found[0].name, *map(str, found[1]))) in TYPES

    def _function(self, node: Node, name: str, arguments: tuple[Node, ...]) -> None:
        function = FUNCTIONS.get(name)
        if function is None:
            hint = ""
            if name in METHODS or name in MACROS:
                hint = f"; {name}() is a method, such as event.data.value.{name}(...)"
            self._refuse(node, f'there is no function "{name}"{hint}')
        if name not in _RESTRICTED_FUNCTIONS:
            self._allow(node, f"{name}()")
        self._call(node, name, function, arguments)
        if name == "matches":
            self._pattern(arguments[1])

    def _method(self, node: Node, name: str, arguments: tuple[Node, ...]) -> None:
        method = METHODS.get(name)
        if method is None:
            hint = f"; {name}() is a function of one value" if name in FUNCTIONS else ""
            self._refuse(node, f'there is no method "{name}"{hint}')
        self._allow(node, f"{name}()")
        self._call(node, name, method, arguments)
        if name == "matches":
            self._pattern(arguments[0])

    def _call(self, node: Node, name: str, function: Function, arguments: tuple[Node, ...]) -> None:
        if len(arguments) not in function.arities:
            counts = " or ".join(map(str, function.arities))
            self._refuse(node, f"{name}() takes {counts} arguments, here are {len(arguments)}")
        if function.checked:
            self._attempt(arguments[0], function)

    def _attempt(self, argument: Node, function: Function) -> None:
        """A constant that the function cannot read is refused now, not at every event."""
        if isinstance(argument, Literal) and argument.written:
            try:
                function.apply(Frame({}, 0, 0), argument.value)
            except EvaluationError as error:
                self._refuse(argument, error.message)

    def _pattern(self, argument: Node) -> None:
        match argument:
            case Literal(written=True, value=str() as pattern):
                try:
                    compiled_pattern(pattern)
                except EvaluationError as error:
                    self._refuse(argument, error.message)


def uses_now(node: Node) -> bool:
    """Whether the value depends on the time of the evaluation."""
    if isinstance(node, Call) and node.target is None and FUNCTIONS[node.name].needs_now:
        return True
    return any(map(uses_now, children(node)))


def names_in(node: Node, seen: dict[int, frozenset[str]]) -> frozenset[str]:
    """The variables that the value depends on, and `now` if it depends on the time.

    Args:
        seen: What is known already by the nodes' ids, for a tree that stays.
    """
    known = seen.get(id(node))
    if known is not None:
        return known
    names: Any
    match node:
        case Name(name=name):
            names = {name} - TYPES.keys() if name not in VARIABLES else {name}
        case Macro(range=over, variable=variable, filter=chosen, body=body):
            inner = names_in(body, seen)
            if chosen is not None:
                inner |= names_in(chosen, seen)
            names = names_in(over, seen) | (inner - {variable})
        case _:
            names = frozenset().union(*(names_in(each, seen) for each in children(node)))
            if isinstance(node, Call) and node.target is None and FUNCTIONS[node.name].needs_now:
                names |= {"now()"}
    seen[id(node)] = frozenset(names)
    return seen[id(node)]
