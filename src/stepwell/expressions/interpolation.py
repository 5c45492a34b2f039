"""An expression with the event that is known put in: what remains waits for the other one.

Every part that depends on `event` alone becomes the constant that it is. What fails to evaluate
stays as it is, with its operands put in, and fails again later.
Source: docs/reference/wire/expressions.md, "interpolation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from stepwell.expressions.checking import names_in, static_type
from stepwell.expressions.compiler import compile_node
from stepwell.expressions.faults import EvaluationError, ExpressionError, WorkExceeded
from stepwell.expressions.macros import slots_needed
from stepwell.expressions.nodes import (
    DEPTH_MAX,
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
    children,
    measure,
    path_of,
)
from stepwell.expressions.parsing import CHARS_MAX
from stepwell.expressions.printing import print_node
from stepwell.expressions.semantics import Frame, Run
from stepwell.expressions.values import MISSING, is_truthy

if TYPE_CHECKING:
    from collections.abc import Mapping

_EVENT: Final = frozenset(("event",))


class Known(msgspec.Struct, frozen=True):
    """What is worth keeping of an expression from one interpolation to the next, by nodes' ids."""

    names: dict[int, frozenset[str]] = msgspec.field(default_factory=dict)
    runs: dict[int, tuple[Run, int]] = msgspec.field(default_factory=dict)


def interpolate(text: str, root: Node, event: Mapping[str, Any], known: Known) -> tuple[str, Node]:
    """The expression's new text and tree.

    Args:
        known: Of this very tree; it is filled here.
    Raises:
        ExpressionError: The event's values make it too large, or take too long to evaluate.
    """
    maker = _Interpolation(text, event, known)
    node = maker.reduced(root)
    if node.depth > DEPTH_MAX or node.size > NODES_MAX:
        raise maker.too_large()
    printed = print_node(node)
    if len(printed) > CHARS_MAX:
        raise maker.too_large()
    return printed, node


class _Interpolation:
    def __init__(self, text: str, event: Mapping[str, Any], known: Known) -> None:
        self._text = text
        self._variables = {"event": event}
        self._known = known
        self._chars = 0

    def too_large(self) -> ExpressionError:
        return ExpressionError(
            self._text,
            0,
            "with the values of the event it is too large; compare smaller parts of the event",
        )

    def reduced(self, node: Node, bound: frozenset[str] = frozenset()) -> Node:
        """The node with the event put in, inside macros that have bound these names."""
        if isinstance(node, Literal):
            return node
        if names_in(node, self._known.names) <= _EVENT - bound:
            try:
                return self._constant(self._evaluated(node), node.at)
            except WorkExceeded as error:
                raise ExpressionError(self._text, node.at, error.message) from error
            except EvaluationError:
                return self._rebuilt(node, bound)
            except RecursionError as error:
                raise self.too_large() from error
        return _simplified(self._rebuilt(node, bound))

    def _evaluated(self, node: Node) -> Any:
        known = self._known.runs.get(id(node))
        if known is None:
            known = compile_node(node, {}), slots_needed(node)
            self._known.runs[id(node)] = known
        run, slots = known
        return run(Frame(self._variables, 0, slots))

    def _constant(self, value: Any, at: int) -> Literal:
        depth, size = self._extent(value, 1)
        return Literal(value=value, written=False, at=at, depth=depth, size=size)

    def _extent(self, value: Any, level: int) -> tuple[int, int]:
        """How deep and how large the value is as a constant."""
        if level > DEPTH_MAX:
            raise self.too_large()
        if isinstance(value, str | bytes):
            self._chars += len(value)
            if self._chars > CHARS_MAX:
                raise self.too_large()
        if not isinstance(value, list | tuple | dict):
            return level, 1
        parts = (*value, *value.values()) if isinstance(value, dict) else value
        depth, size = level, 1
        for part in parts:
            deepest, parts_size = self._extent(part, level + 1)
            depth = max(depth, deepest)
            size += parts_size
            if size > NODES_MAX:
                raise self.too_large()
        return depth, size

    def _rebuilt(self, node: Node, bound: frozenset[str]) -> Node:
        """The node over its parts with the event put in."""
        if isinstance(node, Macro):
            return self._rebuilt_macro(node, bound)
        parts = [self.reduced(each, bound) for each in children(node)]
        depth, size = measure(parts)
        changes: dict[str, Any] = {"depth": depth, "size": size}
        match node:
            case Name():
                return node
            case Select() | Not() | Negate() | Has():
                changes["operand"] = parts[0]
            case Index():
                changes |= {"operand": parts[0], "key": parts[1]}
            case Call(target=None):
                changes["arguments"] = tuple(parts)
            case Call():
                changes |= {"target": parts[0], "arguments": tuple(parts[1:])}
            case Binary():
                changes |= {"left": parts[0], "right": parts[1]}
            case Logic():
                changes["operands"] = tuple(parts)
            case Choice():
                changes |= {"test": parts[0], "yes": parts[1], "no": parts[2]}
            case ListOf():
                changes["items"] = tuple(parts)
            case MapOf():
                changes["entries"] = tuple(zip(parts[::2], parts[1::2], strict=True))
        return replace(node, **changes)

    def _rebuilt_macro(self, node: Macro, bound: frozenset[str]) -> Node:
        inner = bound | {node.variable}
        over = self.reduced(node.range, bound)
        body = self.reduced(node.body, inner)
        chosen = None if node.filter is None else self.reduced(node.filter, inner)
        depth, size = measure([over, body] if chosen is None else [over, chosen, body])
        return replace(node, range=over, body=body, filter=chosen, depth=depth, size=size)


def _simplified(node: Node) -> Node:
    """The node without what its constants decide already. Its value stays the same."""
    match node:
        case Logic():
            return _simplified_logic(node)
        case Choice(test=Literal(value=value), yes=yes, no=no):
            return yes if is_truthy(value) else no
        case Binary(operator="==" | "!=" as sign, left=left, right=right) if (
            _is_missing(left) and _is_present_or_missing(right)
        ) or (_is_missing(right) and _is_present_or_missing(left)):
            return Literal(value=sign == "!=", written=False, at=node.at)
    return node


def _simplified_logic(node: Logic) -> Node:
    ends = node.operator == "||"  # with the first operand that is true, or that is false
    kept: list[Node] = []
    for operand in node.operands[:-1]:
        if not isinstance(operand, Literal):
            kept.append(operand)
        elif is_truthy(operand.value) is ends:
            kept.append(operand)
            break
    else:
        last = node.operands[-1]
        redundant = not ends and isinstance(last, Literal) and last.value is True
        if not (redundant and kept and static_type(kept[-1]) == "bool"):
            kept.append(last)
    if len(kept) == 1:
        return kept[0]
    depth, size = measure(kept)
    return replace(node, operands=tuple(kept), depth=depth, size=size)


def _is_missing(node: Node) -> bool:
    return isinstance(node, Literal) and node.value is MISSING


def _is_present_or_missing(node: Node) -> bool:
    """A reference: it never fails, and it is not the word `null`."""
    path = path_of(node)
    return path is not None and bool(path[1])
