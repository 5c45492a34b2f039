"""The tree of an expression.

Every node knows its place in the text (`at`, a character's index), and how deep and how large the
tree below it is, so that hostile text is refused while it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

DEPTH_MAX: Final = 100
"""Deeper than people write. An evaluation takes one frame of the stack for each level."""

NODES_MAX: Final = 2_000

VARIABLES: Final = ("event", "async")
MACROS: Final = ("all", "exists", "exists_one", "filter", "map")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """What all nodes have."""

    at: int = 0
    depth: int = 1
    size: int = 1


class Literal(Node, frozen=True):
    """A constant.

    `null` in the text asks whether something is there; a null that came out of an event is a value
    like any other. `written` tells them apart.
    """

    value: Any
    written: bool = True


class Name(Node, frozen=True):
    """A variable, one that a macro binds, or a type."""

    name: str


class Select(Node, frozen=True):
    operand: Node
    field: str


class Index(Node, frozen=True):
    operand: Node
    key: Node


class Call(Node, frozen=True):
    """A function, or with a target a method."""

    name: str
    target: Node | None
    arguments: tuple[Node, ...]


class Not(Node, frozen=True):
    operand: Node


class Negate(Node, frozen=True):
    operand: Node


class Binary(Node, frozen=True):
    """One of `== != < <= > >= in + - * / %`."""

    operator: str
    left: Node
    right: Node


class Logic(Node, frozen=True):
    """`&&` or `||` over two or more operands."""

    operator: str
    operands: tuple[Node, ...]


class Choice(Node, frozen=True):
    test: Node
    yes: Node
    no: Node


class ListOf(Node, frozen=True):
    items: tuple[Node, ...]


class MapOf(Node, frozen=True):
    entries: tuple[tuple[Node, Node], ...]


class Has(Node, frozen=True):
    operand: Node
    field: str


class Macro(Node, frozen=True):
    """`range.kind(variable, body)`; `map` may have a filter before its body."""

    kind: str
    range: Node
    variable: str
    filter: Node | None
    body: Node


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case Select(operand=operand) | Not(operand=operand) | Negate(operand=operand):
            return (operand,)
        case Has(operand=operand):
            return (operand,)
        case Index(operand=operand, key=key):
            return (operand, key)
        case Call(target=target, arguments=arguments):
            return arguments if target is None else (target, *arguments)
        case Binary(left=left, right=right):
            return (left, right)
        case Logic(operands=operands):
            return operands
        case Choice(test=test, yes=yes, no=no):
            return (test, yes, no)
        case ListOf(items=items):
            return items
        case MapOf(entries=entries):
            return tuple(each for entry in entries for each in entry)
        case Macro(range=over, filter=chosen, body=body):
            return (over, body) if chosen is None else (over, chosen, body)
    return ()


def measure(below: Iterable[Node]) -> tuple[int, int]:
    """The depth and the size of a node over these."""
    depth, size = 0, 1
    for node in below:
        size += node.size
        if node.depth > depth:
            depth = node.depth
    return depth + 1, size


def path_of(node: Node) -> tuple[Name, tuple[str | int, ...]] | None:
    """The name and the keys of `event.data.items[0]`; None if the node is no such reference."""
    steps: list[str | int] = []
    while True:
        match node:
            case Name():
                return node, tuple(reversed(steps))
            case Select(operand=operand, field=field):
                steps.append(field)
                node = operand
            case Index(operand=operand, key=Literal(value=str() | int() as key)) if (
                type(key) is not bool
            ):
                steps.append(key)
                node = operand
            case _:
                return None
