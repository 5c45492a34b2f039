"""Two other implementations of CEL, and ours, asked for the value of one expression.

`cel-expr-python`, Google's own in C++, decides. Where it does not take an expression,
`common-expression-language`, in Rust, does; elsewhere it gives a second opinion. Both are given the
functions that are only ours, in plain Python. A value is a pair: the name of its type, and the
value in plain Python.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import cel as rust
from cel_expr_python import cel as google

from stepwell.expressions import MISSING, EvaluationError, compile_expression
from stepwell.expressions.times import Duration, Timestamp
from stepwell.expressions.values import TypeValue, elements, keys, loaded, map_key, type_of
from tests.properties.expressions.programs import EVENT, NOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable

Typed: TypeAlias = tuple[str, Any]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOW: Final = EPOCH + timedelta(milliseconds=NOW_MS)

_SPANS: Final = {"24h": 24, "90m": 1.5, "1d12h": 36}
_TYPES: Final = {
    "LIST<DYN>": "list",
    "MAP<DYN, DYN>": "map",
    "NULL": "null_type",
    "TIMESTAMP": "google.protobuf.Timestamp",
    "DURATION": "google.protobuf.Duration",
}


class Verdict(Enum):
    """How one expression came out."""

    AGREED = "the same value"
    BOTH_FAIL = "no value, for both"
    ERRORS = "an operand fails, and our operator treats that differently"
    MISSING = "something is missing, and ours goes on"
    REFUSED = "no oracle takes it"
    DIFFERENT = "another value"


AGREE: Final = (Verdict.AGREED, Verdict.BOTH_FAIL)


class NoValue(Exception):
    """The expression fails when it is evaluated."""


class Refused(Exception):
    """The expression is none for this implementation."""


class Answer:
    """What came out of one comparison.

    Attributes:
        second: Whether the second oracle, where the first one decided, agrees; None if it does
            not take the expression.
    """

    def __init__(self, verdict: Verdict, ours: str, theirs: str, second: bool | None) -> None:
        self.verdict = verdict
        self.ours = ours
        self.theirs = theirs
        self.second = second


def ask(text: str) -> Answer:
    """Evaluate the expression three times, and compare."""
    ours, absorbed = _ours(text)
    first, second = _outcome(google_value, text), _outcome(rust_value, text)
    theirs = second if isinstance(first, Refused) else first
    agrees = None
    if not isinstance(first, Refused) and not isinstance(second, Refused):
        agrees = _verdict(text, ours, second, absorbed) in AGREE
    return Answer(_verdict(text, ours, theirs, absorbed), repr(ours), repr(theirs), agrees)


def _verdict(
    text: str, ours: Typed | Exception, theirs: Typed | Exception, absorbed: bool
) -> Verdict:
    match ours, theirs:
        case _, Refused():
            return Verdict.REFUSED
        case ("missing", _), _:
            return Verdict.MISSING
        case NoValue(), NoValue():
            return Verdict.BOTH_FAIL
        case tuple(), tuple():
            return Verdict.AGREED if _same(ours, theirs) else Verdict.DIFFERENT
        case tuple(), NoValue() if absorbed:
            return Verdict.ERRORS
        case tuple(), NoValue() if _is_about_missing(theirs):
            return Verdict.MISSING
        case NoValue(), tuple() if "&&" in text:
            return Verdict.ERRORS  # standard CEL takes `error && false` for false
    return Verdict.DIFFERENT


def _is_about_missing(error: NoValue) -> bool:
    return any(word in str(error) for word in ("NOT_FOUND", "Index error", "KeyError", "out of"))


def _same(ours: Typed, theirs: Typed) -> bool:
    # The second oracle has no unsigned integers in Python, and gives types as their names.
    kinds = {ours[0], theirs[0]}
    alike = len(kinds) == 1 or kinds in ({"int", "uint"}, {"string", "type"})
    return alike and _equal(ours[1], theirs[1])


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_equal, ours, theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_equal(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, float) and isinstance(theirs, float) and math.isnan(ours):
        return math.isnan(theirs)
    return type(ours) is type(theirs) and bool(ours == theirs)


def _outcome(value_of: Any, text: str) -> Typed | Exception:
    try:
        value: Typed = value_of(text)
    except (NoValue, Refused) as error:
        return error
    return value


# --- ours ---


def _ours(text: str) -> tuple[Typed | Exception, bool]:
    """The value or the failure, and whether an error was met on the way."""
    expression = compile_expression(text)
    errors = 0
    initialise = EvaluationError.__init__

    def counted(self: EvaluationError, *given: Any, **named: Any) -> None:
        nonlocal errors
        errors += 1
        initialise(self, *given, **named)

    EvaluationError.__init__ = counted  # type: ignore[assignment,method-assign]
    try:
        value = expression.evaluate({"event": EVENT}, now_ms=NOW_MS)
    except EvaluationError as error:
        return NoValue(error.message), True
    finally:
        EvaluationError.__init__ = initialise  # type: ignore[method-assign]
    if value is MISSING:
        return ("missing", None), errors > 0
    return (type_of(value), _plain(value)), errors > 0


def _plain(value: Any) -> Any:
    match value:
        case TypeValue(name=name):
            return name
        case Timestamp(ns=ns):
            return EPOCH + timedelta(microseconds=ns // 1_000)
        case Duration(ns=ns):
            return timedelta(microseconds=ns // 1_000)
        case list() | tuple():
            return [_plain(each) for each in elements(value)]
        case dict():
            load = loaded if type(value) is dict else _as_is
            return {key: _plain(load(value[map_key(key)])) for key in keys(value)}
        case bool():
            return value
        case int():
            return int(value)
    return value


def _as_is(value: Any) -> Any:
    return value


# --- theirs ---


def doubles(value: Any) -> Any:
    """An event for the oracles, in which every number is a double."""
    if isinstance(value, dict):
        return {key: doubles(each) for key, each in value.items()}
    if isinstance(value, list):
        return [doubles(each) for each in value]
    return float(value) if type(value) is int else value


def _date(of: str | int) -> datetime:
    if isinstance(of, int):
        return EPOCH + timedelta(milliseconds=of)
    return datetime.fromisoformat(of).replace(tzinfo=UTC)


_OURS: Final[dict[str, tuple[str, tuple[str, ...], Callable[..., Any]]]] = {
    "lowercase": ("STRING", ("STRING",), str.lower),
    "uppercase": ("STRING", ("STRING",), str.upper),
    "b64decode": ("STRING", ("STRING",), lambda text: base64.b64decode(text).decode()),
    "json_parse": ("DYN", ("STRING",), lambda text: doubles(json.loads(text))),
    "date": ("TIMESTAMP", ("DYN",), _date),
    "now": ("TIMESTAMP", (), lambda: NOW),
    "now_plus": ("TIMESTAMP", ("STRING",), lambda span: NOW + timedelta(hours=_SPANS[span])),
    "now_minus": ("TIMESTAMP", ("STRING",), lambda span: NOW - timedelta(hours=_SPANS[span])),
}
"""The type of the result, those of the arguments, and what it does."""

_VARIABLES: Final = {"event": doubles(EVENT)}


def _google_environment() -> Any:
    kinds = google.Type
    functions = [
        google.FunctionDecl(
            name,
            [
                google.Overload(
                    f"our_{name}",
                    getattr(kinds, gives),
                    [getattr(kinds, each) for each in takes],
                    impl=function,
                )
            ],
        )
        for name, (gives, takes, function) in _OURS.items()
    ]
    return google.NewEnv(
        variables={"event": kinds.Map(kinds.STRING, kinds.DYN)},
        extensions=[google.CelExtension("ours", functions)],
    )


def _rust_context() -> Any:
    context = rust.Context()
    context.add_variable("event", _VARIABLES["event"])
    for name, (_, _, function) in _OURS.items():
        context.add_function(name, function)
    return context


_GOOGLE: Final = _google_environment()
_RUST: Final = _rust_context()


def google_value(text: str) -> Typed:
    """The value after `cel-expr-python`."""
    try:
        program = _GOOGLE.compile(text)
        result = program.eval(data=_VARIABLES)
    except RuntimeError as error:
        raise Refused(str(error)) from error
    kind = str(result.type())
    if kind == "ERROR":
        raise NoValue(str(result.value()))
    name = _TYPES.get(kind, kind.lower())
    value = result.plain_value()
    if name == "type":
        shown = str(value)
        return name, _TYPES.get(shown, shown.lower())
    return name, _python(value)


def rust_value(text: str) -> Typed:
    """The value after `common-expression-language`."""
    if "timestamp(" in text or "date(" in text:
        raise Refused("it keeps the offset of a timestamp, in its hours and in its text")
    try:
        value = rust.evaluate(text, _RUST)
    except BaseException as error:  # a panic of the library is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        if "Undefined" in str(error) or "parse" in str(error):
            raise Refused(str(error)) from error
        raise NoValue(f"{type(error).__name__}: {error}") from error
    return _rust_kind(value), _python(value)


def _rust_kind(value: Any) -> str:
    kinds = {datetime: "google.protobuf.Timestamp", timedelta: "google.protobuf.Duration"}
    names = {dict: "map", float: "double", str: "string", type(None): "null_type"}
    return kinds.get(type(value)) or names.get(type(value)) or type(value).__name__


def _python(value: Any) -> Any:
    match value:
        case bytearray():
            return bytes(value)
        case list() | tuple():
            return [_python(each) for each in value]
        case dict():
            return {key: _python(each) for key, each in value.items()}
        case datetime():
            return value.astimezone(UTC)
    return value
