"""The operators over any two values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stepwell.expressions import MISSING, EvaluationError, compile_expression
from stepwell.expressions.values import Uint

DATA: dict[str, Any] = {"n": 6, "f": 5.5, "s": "abc", "b": True, "nul": None, "list": [1, "x"]}


def evaluate(text: str) -> Any:
    return compile_expression(text).evaluate({"event": {"data": DATA}}, now_ms=0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # integers stay integers, anything with a double is a double
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 / -2", -3),
        ("-7 % 3", -1),
        ("7 % -3", 1),
        ("7u / 2u", Uint(3)),
        ("7u % 4u", Uint(3)),
        ("7.0 / 2.0", 3.5),
        ("1.0 / 0.0", math.inf),
        ("-1.0 / 0.0", -math.inf),
        ("event.data.n / 0", math.inf),
        ("event.data.n / 4", 1.5),
        ("event.data.n + 1", 7.0),
        ("1 + event.data.n", 7.0),
        ("event.data.n * 2", 12.0),
        ("event.data.n - 1", 5.0),
        ("event.data.n % 4", 2),
        ("-event.data.n % 4", -2),
        ("9 % event.data.n", 3),
        ("event.data.n % event.data.n", 0),
        ("1 + 1u", Uint(2)),
        ("-(-5)", 5),
        ("-(2.5)", -2.5),
        # what is missing adds nothing
        ("event.data.miss + 1", 1),
        ("'a' + event.data.miss", "a"),
        ("event.data.miss + event.data.miss", MISSING),
        # texts take numbers and bools
        ("'n' + 6", "n6"),
        ("6 + 'n'", "6n"),
        ("'n' + event.data.n", "n6"),
        ("'n' + 1e21", "n1e+21"),
        ("'n' + 5u", "n5"),
        ("'b' + true", "btrue"),
        ("b'a' + b'b'", b"ab"),
        ("[1] + event.data.list", (1, 1.0, "x")),
        # the first operand that decides, as it is
        ("event.data.s && event.data.n", 6.0),
        ("event.data.s || event.data.n", "abc"),
        ("'' || 0 || event.data.nul", None),
        ("0 && event.data.s", 0),
        ("event.data.miss && true", MISSING),
        ("(1 / 0) || 'x'", "x"),
        ("(1 / 0) ? 'yes' : 'no'", "no"),
        ("{} ? 'yes' : 'no'", "yes"),
        ("0u ? 'yes' : 'no'", "no"),
        ("now() ? 'yes' : 'no'", "yes"),
        # access
        ("[1, 2][1]", 2),
        ("[1, 2][1.0]", 2),
        ("[1, 2][-1]", MISSING),
        ("[1, 2]['a']", MISSING),
        ("{1: 'a'}[1u]", "a"),
        ("{1: 'a'}[1.0]", "a"),
        ("{1: 'a', true: 'b'}[true]", "b"),
        ("{'a': 1}.a", 1),
        ("{'a': 1}['b']", MISSING),
        ("'abc'[0]", MISSING),
        ("event.data[event.data.miss]", MISSING),
    ],
)
def test_a_value(text: str, value: Any) -> None:
    found = evaluate(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9223372036854775807 + 1", "no integer of 64 bits"),
        ("-9223372036854775807 - 2", "no integer of 64 bits"),
        ("9223372036854775807 * 2", "no integer of 64 bits"),
        ("-(-9223372036854775808)", "no integer of 64 bits"),
        ("-9223372036854775808 / -1", "no integer of 64 bits"),
        ("1u - 2u", "no unsigned integer of 64 bits"),
        ("18446744073709551615u + 1u", "no unsigned integer of 64 bits"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("event.data.f % 2", "% does not go with double and int"),
        ("event.data.n % 'a'", "% does not go with double and string"),
        ("event.data.miss - 1", "- does not go with missing and int"),
        ("event.data.nul + 1", "+ does not go with null_type and int"),
        ("true + true", "+ does not go with bool and bool"),
        ("'a' + [1]", "+ does not go with list and string"),
        ("'a' - 'b'", "- does not go with string and string"),
        ("'a' * 2", "* does not go with string and int"),
        ("[1] / 2", "/ does not go with list and int"),
        ("-event.data.s", "- takes a number, not a string"),
        ("-(1u)", "- takes a number, not a uint"),
        ("!event.data.nul", "! takes a bool, not a null_type"),
        ("1 in 'a'", "in takes a list or a map, not a string"),
        ("[1] in {1: 2}", "a list cannot be the key of a map"),
        ("{'a': 1, 'a': 2}", "a key is twice in a map"),
        ("{1: 1, 1.0: 2}", "a key is twice in a map"),
        ("{[1]: 1}", "a list cannot be the key of a map"),
        ("[1] < [2]", "a list and a list have no order"),
        ("true < 1", "a bool and a int have no order"),
        ("type(1) < type(2)", "a type and a type have no order"),
    ],
)
def test_no_value(text: str, reason: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(text)
    assert reason in caught.value.message


MIXED: tuple[str, ...] = ("1", "1u", "1.0", "'1'", "true", "b'1'", "[1]", "{'1': 1}", "type(1)")


def test_values_of_two_kinds_are_equal_only_if_both_are_numbers() -> None:
    numbers = ("1", "1u", "1.0")
    for left in MIXED:
        for right in MIXED:
            alike = left == right or (left in numbers and right in numbers)
            assert evaluate(f"{left} == {right}") is alike, (left, right)
            assert evaluate(f"{left} != {right}") is not alike, (left, right)


def test_what_is_missing_equals_only_the_word_null() -> None:
    for other in (*MIXED, "event.data.nul", "event.data.miss", "event.data.other", "[null][0]"):
        for text in (f"event.data.miss == {other}", f"{other} == event.data.miss"):
            assert evaluate(text) is False, text
    assert evaluate("event.data.miss == null")
    assert evaluate("null == event.data.miss")
    assert evaluate("event.data.nul == null")
    assert evaluate("event.data.nul == [null][0]")


def test_missing_inside_lists_equals_nothing() -> None:
    assert evaluate("[event.data.miss] == [event.data.miss]") is False
    assert evaluate("[event.data.miss] == [null]") is False
    assert evaluate("[event.data.nul] == [null]") is True


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_missing_is_less_than_anything(sign: str) -> None:
    for other in ("1", "'a'", "true", "null", "[1]"):
        assert evaluate(f"event.data.miss {sign} {other}") is (sign[0] == "<")
        assert evaluate(f"{other} {sign} event.data.miss") is (sign[0] == ">")
    assert evaluate(f"event.data.miss {sign} event.data.other") is False


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_null_is_the_zero_of_the_other_side(sign: str) -> None:
    for zero in ("0", "0u", "0.0", "''", "b''", "false", "duration('0s')", "timestamp(0)"):
        assert evaluate(f"event.data.nul {sign} {zero}") is (len(sign) == 2)
        assert evaluate(f"{zero} {sign} event.data.nul") is (len(sign) == 2)
    assert evaluate(f"event.data.nul {sign} null") is (len(sign) == 2)
    assert evaluate(f"1 {sign} event.data.nul") is (sign[0] == ">")


@pytest.mark.parametrize(
    "text",
    ["event.data.list.all(x, 1 / 0 == x)", "(1 / 0) == 1", "1 == 1 / 0", "size(null) == 0"],
)
def test_what_fails_equals_nothing(text: str) -> None:
    assert evaluate(text) is False


@pytest.mark.parametrize(
    "text",
    [
        "event.data.miss.exists(x, x) == false",
        "has(event.data.a.b) == false",
        "false == (async == null)",
        "has(event.data.s.x) != true",
    ],
)
def test_what_is_unknown_is_not_even_unequal(text: str) -> None:
    with pytest.raises(EvaluationError):
        evaluate(text)


def test_numbers_beyond_what_a_double_holds_compare_as_doubles() -> None:
    variables = {"event": {"data": {"big": 2**53 + 1, "list": [2**53 + 1]}}}
    for text in (
        "event.data.big == 9007199254740992",
        "event.data.big == 9007199254740993",
        "event.data.big <= 9007199254740992",
        "9007199254740993 in event.data.list",
        "event.data.list == [9007199254740992]",
    ):
        assert compile_expression(text).matches(variables, now_ms=0), text
    assert compile_expression("9007199254740993 != 9007199254740992").matches({}, now_ms=0)
