"""Tree to closures.

Each node becomes a function of the frame. The common shapes have closures of their own: a path
of fields, a comparison of one with a constant.
Source: docs/reference/expressions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stepwell.expressions.faults import EvaluationError, UnknownValue, WorkExceeded
from stepwell.expressions.functions import FUNCTIONS, METHODS, compiled_pattern, search
from stepwell.expressions.macros import compile_macro
from stepwell.expressions.nodes import (
    VARIABLES,
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
    path_of,
)
from stepwell.expressions.semantics import (
    ARITHMETIC,
    Frame,
    Run,
    compare,
    contains,
    equal,
    has_field,
    invert,
    is_exact,
    is_null,
    made_map,
    negate,
    select,
)
from stepwell.expressions.values import (
    MISSING,
    NUMBERS,
    TYPES,
    Value,
    as_double,
    is_truthy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    Slots: TypeAlias = Mapping[str, int]

_ORDER: Final = ("<", "<=", ">", ">=")


def compile_node(node: Node, slots: Slots) -> Run:
    """A function of the frame for a checked tree.

    Args:
        slots: Where the frame keeps what macros round the node have bound.
    """
    match node:
        case Literal(value=value):
            return lambda frame: value
        case Name(name=name):
            return _name(name, slots)
        case Select() | Index():
            return _access(node, slots)
        case Has(operand=operand, field=field):
            of = compile_node(operand, slots)
            return lambda frame: has_field(of(frame), field)
        case Not(operand=operand):
            inverted = compile_node(operand, slots)
            return lambda frame: invert(inverted(frame))
        case Negate(operand=operand):
            negated = compile_node(operand, slots)
            return lambda frame: negate(negated(frame))
        case Binary(operator="==" | "!=" as sign, left=left, right=right):
            return _equality(left, right, slots, negated=sign == "!=")
        case Binary(operator=sign, left=left, right=right) if sign in _ORDER:
            return _order(sign, left, right, slots)
        case Binary(operator="in", left=left, right=right):
            return _membership(compile_node(left, slots), compile_node(right, slots))
        case Binary(operator=sign, left=left, right=right):
            return _arithmetic(sign, compile_node(left, slots), compile_node(right, slots))
        case Logic(operator=sign, operands=operands):
            runs = tuple(compile_node(each, slots) for each in operands)
            return _both(runs) if sign == "&&" else _either(runs)
        case Choice(test=test, yes=yes, no=no):
            return _choice(*(compile_node(each, slots) for each in (test, yes, no)))
        case ListOf(items=items):
            return _list_of(tuple(compile_node(each, slots) for each in items))
        case MapOf(entries=entries):
            return _map_of(
                tuple((compile_node(key, slots), compile_node(it, slots)) for key, it in entries)
            )
        case Call():
            return _call(node, slots)
        case Macro():
            return compile_macro(node, slots, compile_node)
    raise AssertionError(f"no such node: {node}")


# --- references ---


def _name(name: str, slots: Slots) -> Run:
    if name in slots:
        slot = slots[name]
        return lambda frame: frame.bound[slot]
    if name not in VARIABLES:
        kind = TYPES[name]
        return lambda frame: kind

    def variable(frame: Frame) -> Value:
        value = frame.variables.get(name, MISSING)
        if value is MISSING:
            raise UnknownValue(f'there is no "{name}" here')
        return value

    return variable


def _access(node: Select | Index, slots: Slots) -> Run:
    path = path_of(node)
    if path is not None and path[0].name not in slots:
        root, keys = path[0].name, path[1]
        if root in VARIABLES:
            return _path(root, keys)
        kind = TYPES[".".join((root, *map(str, keys)))]
        return lambda frame: kind
    of = compile_node(node.operand, slots)
    if isinstance(node, Select):
        field = node.field
        return lambda frame: select(of(frame), field)
    key = compile_node(node.key, slots)
    return lambda frame: select(of(frame), key(frame))


def _path(root: str, keys: tuple[str | int, ...]) -> Run:
    if len(keys) == 2 and type(keys[0]) is str and type(keys[1]) is str:
        first, second = keys

        def field(frame: Frame) -> Value:
            value = frame.variables.get(root)
            if type(value) is dict:
                value = value.get(first)
                if type(value) is dict:
                    value = value.get(second, MISSING)
                    return as_double(value) if type(value) is int else value
            return MISSING

        return field

    def walk(frame: Frame) -> Value:
        value: Value = frame.variables.get(root, MISSING)
        for key in keys:
            value = select(value, key)
        return value

    return walk


def _is_quiet(node: Node, slots: Slots) -> bool:
    """Whether evaluating the node never fails."""
    if isinstance(node, Literal):
        return True
    path = path_of(node)
    return path is not None and (bool(path[1]) or path[0].name in slots)


# --- comparison ---


def _equality(left: Node, right: Node, slots: Slots, *, negated: bool) -> Run:
    if _is_written_null(left):
        left, right = right, left
    run = _null_check(left, slots) if _is_written_null(right) else _same(left, right, slots)
    if not (_is_quiet(left, slots) and _is_quiet(right, slots)):
        run = _or_false(run)
    if negated:
        return lambda frame: not run(frame)
    return run


def _is_written_null(node: Node) -> bool:
    return isinstance(node, Literal) and node.value is None and node.written


def _null_check(node: Node, slots: Slots) -> Run:
    of = compile_node(node, slots)
    return lambda frame: is_null(of(frame))


def _same(left: Node, right: Node, slots: Slots) -> Run:
    if isinstance(left, Literal) and not isinstance(right, Literal):
        left, right = right, left
    first = compile_node(left, slots)
    if isinstance(right, Literal):
        constant = right.value
        if type(constant) is str:
            # A constant is short: what it costs to compare it needs no counting.
            return lambda frame: first(frame) == constant
        if type(constant) in NUMBERS:
            return _same_number(first, as_double(constant), constant)
    second = compile_node(right, slots)
    return lambda frame: equal(frame, first(frame), second(frame))


def _same_number(of: Run, double: float, constant: Value) -> Run:
    def same(frame: Frame) -> bool:
        value = of(frame)
        if type(value) is float:
            return value == double
        return equal(frame, value, constant)

    return same


def _or_false(run: Run) -> Run:
    """What fails on either side is not equal; what is unknown stays so."""

    def same(frame: Frame) -> Value:
        try:
            return run(frame)
        except (UnknownValue, WorkExceeded):
            raise
        except EvaluationError:
            return False

    return same


def _order(sign: str, left: Node, right: Node, slots: Slots) -> Run:
    first = compile_node(left, slots)
    if isinstance(right, Literal) and type(right.value) in NUMBERS and is_exact(right.value):
        return _ordered_number(sign, first, right.value)
    second = compile_node(right, slots)
    return lambda frame: compare(frame, sign, first(frame), second(frame))


def _ordered_number(sign: str, of: Run, number: float) -> Run:
    constant = as_double(number)

    def greater(frame: Frame) -> bool:
        value = of(frame)
        return value > constant if type(value) is float else compare(frame, sign, value, number)

    def greater_or_equal(frame: Frame) -> bool:
        value = of(frame)
        return value >= constant if type(value) is float else compare(frame, sign, value, number)

    def less(frame: Frame) -> bool:
        value = of(frame)
        return value < constant if type(value) is float else compare(frame, sign, value, number)

    def less_or_equal(frame: Frame) -> bool:
        value = of(frame)
        return value <= constant if type(value) is float else compare(frame, sign, value, number)

    runs = {">": greater, ">=": greater_or_equal, "<": less, "<=": less_or_equal}
    return runs[sign]


def _membership(needle: Run, haystack: Run) -> Run:
    return lambda frame: contains(frame, needle(frame), haystack(frame))


def _arithmetic(sign: str, left: Run, right: Run) -> Run:
    apply = ARITHMETIC[sign]
    return lambda frame: apply(frame, left(frame), right(frame))


# --- logic ---


def _both(runs: tuple[Run, ...]) -> Run:
    *first, last = runs

    def both(frame: Frame) -> Value:
        for run in first:
            value = run(frame)
            if value is not True and not is_truthy(value):
                return value
        return last(frame)

    return both


def _either(runs: tuple[Run, ...]) -> Run:
    *first, last = runs

    def either(frame: Frame) -> Value:
        for run in first:
            try:
                value = run(frame)
            except WorkExceeded:
                raise
            except EvaluationError:
                continue
            if value is True or is_truthy(value):
                return value
        return last(frame)

    return either


def _choice(test: Run, yes: Run, no: Run) -> Run:
    def choose(frame: Frame) -> Value:
        try:
            chosen = is_truthy(test(frame))
        except WorkExceeded:
            raise
        except EvaluationError:
            chosen = False
        return yes(frame) if chosen else no(frame)

    return choose


# --- what is made ---


def _list_of(items: tuple[Run, ...]) -> Run:
    return lambda frame: tuple([item(frame) for item in items])


def _map_of(entries: tuple[tuple[Run, Run], ...]) -> Run:
    return lambda frame: made_map([(key(frame), value(frame)) for key, value in entries])


def _call(node: Call, slots: Slots) -> Run:
    table = FUNCTIONS if node.target is None else METHODS
    apply = table[node.name].apply
    operands = node.arguments if node.target is None else (node.target, *node.arguments)
    if node.name == "matches" and isinstance(operands[1], Literal):
        found = _constant_pattern(operands[1].value)
        if found is not None:
            return _matches(compile_node(operands[0], slots), found)
    runs = [compile_node(each, slots) for each in operands]
    if len(runs) == 1:
        (only,) = runs
        return lambda frame: apply(frame, only(frame))
    if len(runs) == 2:
        first, second = runs
        return lambda frame: apply(frame, first(frame), second(frame))
    return lambda frame: apply(frame, *(run(frame) for run in runs))


def _constant_pattern(value: Any) -> Any:
    try:
        return compiled_pattern(value) if type(value) is str else None
    except EvaluationError:
        return None


def _matches(of: Run, pattern: Any) -> Run:
    fails = METHODS["matches"].apply

    def matches(frame: Frame) -> Value:
        text = of(frame)
        return search(frame, pattern, text) if type(text) is str else fails(frame, text, "")

    return matches
