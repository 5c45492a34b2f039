"""What is refused before any event, and what the restricted policy leaves."""

from __future__ import annotations

import pytest

from stepwell.expressions import ExpressionError, Policy, compile_expression


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("foo == 1", 1, 'there is no variable "foo"'),
        ("event.data.s == abc", 17, "expected event or async, or a text in quotes"),
        ("steps.a == null", 1, 'there is no variable "steps"'),
        ("event.data.l.map(x, y)", 21, 'there is no variable "y"'),
        ("event.data.l.exists(x, true) && x", 33, 'there is no variable "x"'),
        ("nofunc(event.data.s)", 1, 'there is no function "nofunc"'),
        ("startsWith(event.data.s)", 1, "startsWith() is a method"),
        ("event.data.s.lowercase()", 14, "lowercase() is a function of one value"),
        ("event.data.s.split(',')", 14, 'there is no method "split"'),
        ("size()", 1, "size() takes 1 arguments, here are 0"),
        ("event.data.s.contains('a', 'b')", 14, "contains() takes 1 arguments, here are 2"),
        ("!('yes')", 1, "! takes a bool, not a string"),
        ("!(1 + 2)", 1, "! takes a bool, not a int"),
        ("!size(event.data.s)", 1, "! takes a bool, not a int"),
        ("event.data.n % 4.0", 14, "write int(...)"),
        ("event.data.s.matches('(')", 22, "is no regular expression"),
        ("matches(event.data.s, 'a**')", 23, "is no regular expression"),
        ("duration('soon')", 10, "is not a duration"),
        ("now_plus('x')", 10, "is not a duration"),
        ("now_minus(5)", 11, "takes a duration"),
        ("timestamp('2026')", 11, "is not a timestamp"),
        ("date('tomorrow')", 6, "is not an instant"),
        ("date(1.5)", 6, "write date(int(...))"),
        ("google.protobuf.Empty == null", 1, 'there is no variable "google"'),
    ],
)
def test_what_can_never_work_is_refused(text: str, column: int, reason: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert reason in caught.value.reason
    assert caught.value.column == column


@pytest.mark.parametrize(
    "text",
    [
        "!event.data.b",
        "!(event.data.a && event.data.b)",
        "!(true ? event.data.a : 1)",
        "event.data.l.exists(event, event.ok)",
        "type(now()) == google.protobuf.Timestamp",
        "event.data.l.map(int, int + 1)",
        "event.data.s.matches(event.data.pattern)",
    ],
)
def test_what_may_work_is_taken(text: str) -> None:
    assert compile_expression(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "event.data.id == async.data.id",
        "event.data['id'] != async.data.ids[0] || !(async.data.n >= -5)",
        "async.data.s in ['a', 'b'] && async.data.a < 1 && async.data.a <= 1 && async.data.a > 0",
        "async.data.x ? true : false",
        "int(async.data.a) == uint(async.data.b) || double(async.data.c) == 1.0",
        "async.data == {'a': 1}",
    ],
)
def test_the_restricted_policy_allows(text: str) -> None:
    assert compile_expression(text, policy=Policy.RESTRICTED).text == text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("async.data.n + 1 == 2", "+ (arithmetic)"),
        ("async.data.n - 1 == 2", "- (arithmetic)"),
        ("async.data.n * 2 == 2", "* (arithmetic)"),
        ("async.data.n / 2 == 2", "/ (arithmetic)"),
        ("async.data.n % 2 == 2", "% (arithmetic)"),
        ("-async.data.n == 2", "- (arithmetic)"),
        ("has(async.data.n)", "has()"),
        ("async.data.l.exists(x, x == 1)", "exists()"),
        ("async.data.s.startsWith('a')", "startsWith()"),
        ("size(async.data.s) == 1", "size()"),
        ("string(async.data.n) == '1'", "string()"),
        ("date(async.data.d) < now()", "date()"),
    ],
)
def test_the_restricted_policy_refuses(text: str, what: str) -> None:
    compile_expression(text)
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, policy=Policy.RESTRICTED)
    assert caught.value.reason.startswith(f"{what} is not allowed here")


@pytest.mark.parametrize(
    ("text", "uses_now"),
    [
        ("event.data.n > 5", False),
        ("date(event.data.d) < now()", True),
        ("event.data.l.exists(x, date(x) < now_plus('1h'))", True),
        ("event.data.now == 'now()'", False),
        ("event.data.x ? 1 : [now_minus('1h')]", True),
    ],
)
def test_whether_the_time_matters(text: str, uses_now: bool) -> None:
    assert compile_expression(text).uses_now is uses_now
