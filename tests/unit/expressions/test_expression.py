"""Compiled expressions: contexts, keys, and that hostile ones end."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.errors import StepwellError
from stepwell.expressions import (
    MISSING,
    EvaluationError,
    Policy,
    compile_expression,
    key_text,
)

DATA: dict[str, Any] = {
    "n": 5,
    "f": 5.5,
    "big": 10**18,
    "s": "abc",
    "b": False,
    "nul": None,
    "list": [1, "x", None, [True]],
    "obj": {"b": 2, "a": 1.5},
}


def evaluate(text: str, data: Any = None) -> Any:
    variables = {"event": {"data": DATA if data is None else data}}
    return compile_expression(text).evaluate(variables, now_ms=1_000)


def test_the_same_text_is_compiled_once() -> None:
    assert compile_expression("event.data.a == 1") is compile_expression("event.data.a == 1")
    restricted = compile_expression("event.data.a == 1", policy=Policy.RESTRICTED)
    assert restricted is not compile_expression("event.data.a == 1")


def test_numbers_of_the_event_are_doubles_and_those_of_the_text_are_not() -> None:
    assert [type(evaluate(text)) for text in ("event.data.n", "int(event.data.n)", "5")] == [
        float,
        int,
        int,
    ]


def test_a_missing_field_is_no_error() -> None:
    assert evaluate("event.data.miss") is MISSING
    assert evaluate("event.data.miss.deeper") is MISSING


def test_what_fails_raises_and_does_not_match() -> None:
    expression = compile_expression("event.data.n > 'a'")
    with pytest.raises(EvaluationError, match="a double and a string have no order") as caught:
        expression.evaluate({"event": {"data": DATA}}, now_ms=0)
    assert (caught.value.code, isinstance(caught.value, StepwellError)) == (
        "expression_failed",
        True,
    )
    assert expression.matches({"event": {"data": DATA}}, now_ms=0) is False


def test_a_variable_that_is_not_there_does_not_match() -> None:
    for text in ("async == null", "!(async == null)", "async", "has(async.data)"):
        assert not compile_expression(text).matches({"event": {}}, now_ms=0)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("event.data.n", "5"),
        ("event.data.f", "5.5"),
        ("event.data.big", "1000000000000000000"),
        ("1e30", "1e+30"),
        ("event.data.s", "abc"),
        ("event.data.b", "false"),
        ("true", "true"),
        ("event.data.nul", "null"),
        ("event.data.miss", None),
        ("event.data.s + '-' + event.data.n", "abc-5"),
        ("event.data.list", "[1 x null [true]]"),
        ("event.data.obj", "map[a:1.5 b:2]"),
        ("{true: 1, 2: b'x'}", "map[2:x true:1]"),
        ("[event.data.miss]", "[null]"),
        ("now()", "1970-01-01T00:00:01Z"),
        ("duration('90m')", "5400s"),
        ("type(1)", "int"),
    ],
)
def test_a_key_is_the_value_as_text(text: str, key: str | None) -> None:
    variables = {"event": {"data": DATA}}
    expression = compile_expression(text)
    assert expression.key(variables, now_ms=1_000) == key
    assert key_text(expression.evaluate(variables, now_ms=1_000)) == key


def test_a_key_that_fails_raises() -> None:
    with pytest.raises(EvaluationError):
        compile_expression("event.data.n + event.data.nul").key({"event": {"data": DATA}}, now_ms=0)


def test_the_time_is_the_callers() -> None:
    expression = compile_expression("now() == timestamp('1970-01-01T00:00:02Z')")
    assert [expression.matches({}, now_ms=ms) for ms in (1_999, 2_000)] == [False, True]


BIG: dict[str, Any] = {
    "list": list(range(100_000)),
    "lists": [[each] for each in range(50_000)],
    "patterns": [f"a{each}" for each in range(100_000)],
    "text": "a" * 3_000_000,
    "same": "a" * 3_000_000,
}


@pytest.mark.parametrize(
    "text",
    [
        "event.data.list.all(x, event.data.list.all(y, event.data.list.all(z, z >= 0)))",
        "event.data.list.all(x, !('a' in event.data.list))",
        "event.data.list.all(x, event.data.lists == event.data.lists)",
        "event.data.list.all(x, event.data.text == event.data.same)",
        "event.data.list.all(x, event.data.text <= event.data.same)",
        "event.data.list.all(x, event.data.text.startsWith(event.data.same))",
        "event.data.list.all(x, event.data.text.endsWith(event.data.same))",
        "event.data.list.all(x, !event.data.text.contains('b'))",
        "event.data.list.all(x, lowercase(event.data.text) != '')",
        "event.data.list.all(x, bytes(event.data.text) != b'')",
        "event.data.list.map(x, event.data.list.map(y, [x, y, x, y])) == []",
        "event.data.list.filter(x, event.data.list.exists_one(y, x == y)).size() == 1",
        "['a']" + ".map(x, x + x)" * 45 + "[0].size() > 0",
        "[[1]]" + ".map(x, x + x)" * 45 + "[0].size() > 0",
        "event.data.text + event.data.text + event.data.text + event.data.text == ''",
        "event.data.text.matches('(a*)*b')",
        "event.data.patterns.exists(x, 'b'.matches(x))",
        "event.data.list.all(x, date('2025-01-01') < now())",
        "event.data.list.all(x, now().getHours('Europe/Paris') >= 0)",
        "event.data.list.all(x, json_parse('{}') == {})",
    ],
)
def test_too_much_work_ends_without_a_match(text: str) -> None:
    variables = {"event": {"data": BIG}}
    for each in (text, f"!({text})", f"({text}) || true", f"({text}) ? false : true"):
        assert not compile_expression(each).matches(variables, now_ms=1_785_000_000_000)
    with pytest.raises(EvaluationError, match="takes too long"):
        compile_expression(f"({text}) == 1").evaluate(variables, now_ms=1_785_000_000_000)


def test_much_work_is_allowed() -> None:
    variables = {"event": {"data": BIG}}
    assert compile_expression("event.data.list.exists(x, x == 99999)").matches(variables, now_ms=0)
    assert compile_expression("99999 in event.data.list").matches(variables, now_ms=0)
    assert compile_expression("event.data.text == event.data.same").matches(variables, now_ms=0)


def test_values_that_are_nested_deep_do_not_break_it() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    variables = {"event": {"data": {"a": deep, "b": [deep]}}}
    assert not compile_expression("event.data.a == event.data.b[0]").matches(variables, now_ms=0)
    with pytest.raises(EvaluationError, match="nested too deep"):
        compile_expression("event.data.a").key(variables, now_ms=0)


def test_json_of_the_depth_that_is_taken_compares() -> None:
    deep: Any = 1
    for _ in range(256):
        deep = [{"a": deep}]
    variables = {"event": {"data": {"a": deep[0]["a"][0]["a"]}}}
    assert compile_expression("event.data.a == event.data.a").matches(variables, now_ms=0)
