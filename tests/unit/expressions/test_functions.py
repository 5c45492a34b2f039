"""Functions and methods."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.expressions import EvaluationError, compile_expression
from stepwell.expressions.values import Uint

DATA: dict[str, Any] = {
    "n": 6,
    "f": -5.9,
    "s": "abc",
    "nul": None,
    "b64": "aGk=",
    "json": '{"q": 7, "l": [1]}',
    "bad": "(",
    "deep": "[" * 5_000,
}


def evaluate(text: str) -> Any:
    return compile_expression(text).evaluate({"event": {"data": DATA}}, now_ms=86_400_000)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("size('é😀')", 2),
        ("b'é'.size()", 2),
        ("size({'a': 1})", 1),
        ("size(event.data.miss)", 0),
        ("'abc'.startsWith('')", True),
        ("'abc'.endsWith('c')", True),
        ("'abc'.contains('bc')", True),
        ("'abc'.startsWith(event.data.miss)", False),
        ("event.data.miss.matches('a')", False),
        ("'abc'.matches('^b')", False),
        ("'abc'.matches('b')", True),
        ("matches('ab12', r'\\d{2}$')", True),
        ("'ABC'.matches('(?i)b')", True),
        ("int('-5')", -5),
        ("int('9223372036854775807')", 2**63 - 1),
        ("int(event.data.f)", -5),
        ("int(5u)", 5),
        ("int(timestamp('1970-01-01T00:00:10.9Z'))", 10),
        ("uint('5')", Uint(5)),
        ("uint(5.9)", Uint(5)),
        ("double('1e3')", 1000.0),
        ("double(5)", 5.0),
        ("string(event.data.n)", "6"),
        ("string(5.5)", "5.5"),
        ("string(1e100)", "1e+100"),
        ("string(true)", "true"),
        ("string(b'abc')", "abc"),
        ("string('a')", "a"),
        ("string(timestamp(1))", "1970-01-01T00:00:01Z"),
        ("string(duration('1h1.5s'))", "3601.5s"),
        ("bool('true')", True),
        ("bool('f')", False),
        ("bool(true)", True),
        ("bytes('é')", "é".encode()),
        ("dyn(5)", 5),
        ("lowercase('ÄB')", "äb"),
        ("uppercase('äb')", "ÄB"),
        ("b64decode(event.data.b64)", "hi"),
        ("json_parse(event.data.json).q", 7.0),
        ("json_parse(event.data.json).l[0] / 2", 0.5),
        ("type(event.data.n) == double", True),
        ("type(6) == int && type(6u) == uint && type('') == string", True),
        ("type(null) == null_type && type([]) == list && type({}) == map", True),
        ("type(b'') == bytes && type(true) == bool && type(type(1)) == type", True),
        ("type(now()) == google.protobuf.Timestamp", True),
        ("type(duration('1s')) == google.protobuf.Duration", True),
        ("now() == timestamp('1970-01-02T00:00:00Z')", True),
        ("now_plus('1d') - now_minus('1d') == duration('48h')", True),
        ("date('1970-01-02') == now()", True),
        ("date(86400000) == now()", True),
        ("date('Fri, 02 Jan 1970 00:00:00 GMT') == now()", True),
        ("date(int(86400000.0)) == now()", True),
        ("timestamp(now()) == now()", True),
    ],
)
def test_a_result(text: str, value: Any) -> None:
    found = evaluate(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("size(event.data.nul)", "a null_type has no size"),
        ("event.data.n.startsWith('6')", "startsWith() takes strings, not double and string"),
        ("'a'.contains(event.data.nul)", "contains() takes strings, not string and null_type"),
        ("event.data.nul.matches('a')", "matches() takes strings"),
        ("'a'.matches(event.data.bad)", "is no regular expression"),
        ("int('5.5')", "'5.5' is not an integer"),
        ("int('')", "'' is not an integer"),
        ("int('٣')", "is not an integer"),
        ("int('1' + '0000000000000000000')", "does not fit in 64 bits"),
        ("int(1e19)", "does not fit in 64 bits"),
        ("int(double('nan'))", "nan is no integer"),
        ("int(event.data.miss)", "int() cannot be had of missing"),
        ("int(true)", "int() cannot be had of bool"),
        ("uint(-1)", "does not fit in 64 bits"),
        ("uint(-0.5)", "uint() cannot be had of double"),
        ("uint('-1')", "is not an integer"),
        ("double('1_0')", "double() cannot be had of '1_0'"),
        ("double(' 1')", "double() cannot be had of ' 1'"),
        ("string(event.data.nul)", "string() cannot be had of null_type"),
        ("string(b'\\xff')", "not UTF-8"),
        ("bool('yes')", "bool() cannot be had of 'yes'"),
        ("bool(1)", "bool() cannot be had of int"),
        ("bytes(1)", "bytes() cannot be had of int"),
        ("lowercase(event.data.miss)", "lowercase() takes a string, not a missing"),
        ("b64decode(event.data.s)", "is not the base64 of a text"),
        ("json_parse('[1]')", "takes the JSON of an object"),
        ("json_parse('{')", "json_parse() takes JSON"),
        ("json_parse(event.data.deep)", "json_parse() takes JSON"),
        ("date(event.data.n)", "write date(int(...))"),
        ("date(event.data.miss)", "date() cannot be had of missing"),
        ("date(event.data.s)", "is not an instant"),
        ("date([9223372036854775807][0])", "years 1 to 9999"),
        ("timestamp(event.data.n)", "timestamp() cannot be had of double"),
        ("timestamp(event.data.s)", "is not a timestamp"),
        ("duration([5][0])", "duration() cannot be had of int"),
        ("now_plus(event.data.s)", "is not a duration"),
        ("type(event.data.miss)", "has no type"),
        ("event.data.n.getHours()", "getHours() does not go with a double"),
        ("duration('1h').getFullYear()", "does not go with a google.protobuf.Duration"),
    ],
)
def test_no_result(text: str, reason: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(text)
    assert reason in caught.value.message


def test_a_pattern_is_linear_whatever_it_is() -> None:
    data = {"s": "a" * 20_000 + "b"}
    for pattern in ("^(a+)+$", "^(a|aa)+$", "^(a*)*$", "(a|a)*c"):
        expression = compile_expression(f"event.data.s.matches('{pattern}')")
        assert not expression.matches({"event": {"data": data}}, now_ms=0)


def test_a_pattern_that_is_too_large_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no regular expression"):
        evaluate("'a'.matches('((a{0,100}){0,100}' + '){0,10}')")
