"""The macros: expressions that are evaluated for each element of a list, or each key of a map.

An element for which the expression fails does not matter if another one decides. Every round is
paid for by the size of what it evaluates, so nested macros over long lists end in time.
Source: docs/reference/expressions.md, "macros".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from stepwell.expressions.faults import EvaluationError, UnknownValue, WorkExceeded
from stepwell.expressions.nodes import Macro, children
from stepwell.expressions.semantics import Frame, Run, spend
from stepwell.expressions.values import MISSING, Value, elements, is_truthy, keys, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stepwell.expressions.nodes import Node

    Slots: TypeAlias = Mapping[str, int]
    Rounds: TypeAlias = Callable[[Frame], Iterator[Value]]


def compile_macro(node: Macro, slots: Slots, compile_node: Callable[[Node, Slots], Run]) -> Run:
    """A function of the frame for the macro.

    Args:
        compile_node: The compiler, for what is inside.
    """
    slot = max(slots.values(), default=-1) + 1
    inner = {**slots, node.variable: slot}
    body = compile_node(node.body, inner)
    work = node.body.size
    chosen = None
    if node.filter is not None:
        chosen = compile_node(node.filter, inner)
        work += node.filter.size
    rounds = _rounds(compile_node(node.range, slots), slot, work)
    match node.kind:
        case "exists":
            return _exists(rounds, body)
        case "all":
            return _all(rounds, body)
        case "exists_one":
            return lambda frame: sum(is_truthy(body(frame)) for _ in rounds(frame)) == 1
        case "filter":
            return lambda frame: tuple([it for it in rounds(frame) if is_truthy(body(frame))])
    if chosen is None:
        return lambda frame: tuple([body(frame) for _ in rounds(frame)])
    kept = chosen
    return lambda frame: tuple([body(frame) for _ in rounds(frame) if is_truthy(kept(frame))])


def slots_needed(node: Node) -> int:
    """How many values macros inside one another bind at a time."""
    below = max(map(slots_needed, children(node)), default=0)
    return below + isinstance(node, Macro)


def _rounds(over: Run, slot: int, work: int) -> Rounds:
    def rounds(frame: Frame) -> Iterator[Value]:
        value = over(frame)
        if type(value) is list or type(value) is tuple:
            each_of = elements(value)
        elif isinstance(value, dict):
            each_of = keys(value)
        elif value is MISSING:
            raise UnknownValue("a macro asked for the elements of what is missing")
        else:
            raise EvaluationError(f"a macro takes a list or a map, not a {type_of(value)}")
        bound = frame.bound
        for each in each_of:
            spend(frame, work)
            bound[slot] = each
            yield each

    return rounds


def _exists(rounds: Rounds, body: Run) -> Run:
    def exists(frame: Frame) -> bool:
        failure: EvaluationError | None = None
        for _ in rounds(frame):
            try:
                if is_truthy(body(frame)):
                    return True
            except WorkExceeded:
                raise
            except EvaluationError as error:
                failure = error
        if failure is not None:
            raise failure
        return False

    return exists


def _all(rounds: Rounds, body: Run) -> Run:
    def holds(frame: Frame) -> bool:
        failure: EvaluationError | None = None
        for _ in rounds(frame):
            try:
                if not is_truthy(body(frame)):
                    return False
            except WorkExceeded:
                raise
            except EvaluationError as error:
                failure = error
        if failure is not None:
            raise failure
        return True

    return holds
