"""An event put into an expression: what remains, and that it means the same."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.expressions import Expression, ExpressionError, Policy, compile_expression
from stepwell.expressions.nodes import NODES_MAX

EVENT: dict[str, Any] = {
    "id": "e-1",
    "name": "a",
    "ts": 1_000,
    "data": {
        "n": 5,
        "f": 5.5,
        "big": 2**60,
        "id": "7",
        "s": "a",
        "nul": None,
        "b": True,
        "tags": ["a", 1, None],
        "obj": {"k": 1, "x.y": 2},
        "pattern": "(",
        "quote": 'a"\\\n',
    },
}

ARRIVING: dict[str, Any] = {
    "id": "e-2",
    "name": "b",
    "ts": 2_000,
    "data": {
        "n": 5,
        "id": "7",
        "s": "abc",
        "nul": None,
        "list": [5, 6],
        "key": "n",
        "quote": 'a"\\\n',
        "obj": {"k": 1, "x.y": 2},
    },
}


def put_in(text: str) -> Expression:
    return compile_expression(text).interpolate(EVENT)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("event.data.id == async.data.id", '"7" == async.data.id'),
        ("async.data.n == event.data.n", "async.data.n == 5"),
        ("event.data.f < async.data.n", "5.5 < async.data.n"),
        ("event.data.big == async.data.n", "1.152921504606847e+18 == async.data.n"),
        ("event.data['id'] == async.data.id", '"7" == async.data.id'),
        ("event.data.obj['x.y'] == async.data.n", "2 == async.data.n"),
        ("event.data.tags[1] == async.data.n", "1 == async.data.n"),
        ("event.data.n + 1 == async.data.n", "6 == async.data.n"),
        ("event.data.n + async.data.n == 10", "5.0 + async.data.n == 10"),
        ("event.data.n / 2 == async.data.n", "2.5 == async.data.n"),
        ("async.data.n / event.data.n == 1", "async.data.n / 5.0 == 1"),
        ("-event.data.n < async.data.n", "-5 < async.data.n"),
        ("async.data.n - -event.data.n > 0", "async.data.n - -5.0 > 0"),
        ("async.data.s.startsWith(event.data.s)", 'async.data.s.startsWith("a")'),
        (
            "async.data.list.exists(x, x == event.data.n)",
            "async.data.list.exists(x, x == 5)",
        ),
        (
            "event.data.tags.exists(t, t == async.data.s)",
            '["a", 1.0, null].exists(t, t == async.data.s)',
        ),
        (
            "async.data.list.map(event, event + event.data.n)",
            "async.data.list.map(event, event + event.data.n)",
        ),
        ("event.data.quote == async.data.quote", '"a\\"\\\\\\n" == async.data.quote'),
        ("event.data.tags == async.data.tags", '["a", 1.0, null] == async.data.tags'),
        (
            "event.data.obj == async.data.obj",
            '{"k": 1.0, "x.y": 2.0} == async.data.obj',
        ),
        ("event.data.nul == async.data.nul", "[null][0] == async.data.nul"),
        ("async.data.n > event.data.miss", "async.data.n > {}.missing"),
        ("event.data.miss == async.data.miss", "false"),
        ("async.data.miss == event.data.miss", "false"),
        ("event.data.miss != async.data.id", "true"),
        ("event.data.miss == null && async.data.n == 5", "async.data.n == 5"),
        ("event.data.n == 6 && async.data.n == 5", "false"),
        ("event.data.n == 5 || async.data.n == 5", "true"),
        ("event.data.n == 6 || async.data.n == 5", "async.data.n == 5"),
        ("async.data.n == 5 && event.data.b", "async.data.n == 5"),
        ("async.data.q && event.data.b", "async.data.q && true"),
        ("event.data.b ? async.data.n == 5 : false", "async.data.n == 5"),
        ("async.data.n == 5 ? event.data.b : event.data.n > 9", "async.data.n == 5 ? true : false"),
        (
            "has(event.data.n) && has(async.data.n) && !has(event.data.zz)",
            "has(async.data.n)",
        ),
        ("!event.data.s || async.data.n == 5", '!["a"][0] || async.data.n == 5'),
        ("async.data.n % event.data.n == 0", "async.data.n % [5.0][0] == 0"),
        ("async.data.s.matches(event.data.pattern)", 'async.data.s.matches(["("][0])'),
        (
            "date(int(event.ts)) < date(int(async.ts))",
            'timestamp("1970-01-01T00:00:01Z") < date(int(async.ts))',
        ),
        ("date(int(event.ts)) < now()", 'timestamp("1970-01-01T00:00:01Z") < now()'),
        ("(event.data.n + 1) * async.data.n == 30", "6.0 * async.data.n == 30"),
        (
            "async.data.n * (event.data.n + async.data.n) > 0",
            "async.data.n * (5.0 + async.data.n) > 0",
        ),
        ("!(async.data.n == event.data.n)", "!(async.data.n == 5)"),
        ("type(event.data.n) == type(async.data.n)", "double == type(async.data.n)"),
        ("async.data.n in event.data.tags", 'async.data.n in ["a", 1.0, null]'),
        ("event.data.n in async.data.list", "5 in async.data.list"),
    ],
)
def test_what_remains(text: str, result: str) -> None:
    expression = compile_expression(text)
    interpolated = expression.interpolate(EVENT)
    assert interpolated.text == result
    read_back = compile_expression(result)
    full = expression.matches({"event": EVENT, "async": ARRIVING}, now_ms=3_000)
    assert interpolated.matches({"async": ARRIVING}, now_ms=3_000) is full
    assert read_back.matches({"async": ARRIVING}, now_ms=3_000) is full


def test_an_index_that_is_known_later_keeps_the_map() -> None:
    expression = put_in("event.data.obj[async.data.key] == null")
    assert expression.text == '{"k": 1.0, "x.y": 2.0}[async.data.key] == null'
    assert expression.matches({"async": {"data": {"key": "z"}}}, now_ms=0)
    assert not expression.matches({"async": {"data": {"key": "k"}}}, now_ms=0)


@pytest.mark.parametrize("arriving", [{}, {"id": None}, {"id": "7"}])
@pytest.mark.parametrize(
    "text", ["event.data.miss == async.data.id", "async.data.id == event.data.miss"]
)
def test_what_is_missing_in_the_trigger_matches_nothing(text: str, arriving: Any) -> None:
    expression = put_in(text)
    assert expression.is_false()
    assert not expression.matches({"async": {"data": arriving}}, now_ms=0)


def test_null_in_the_trigger_matches_null_but_not_what_is_missing() -> None:
    expression = put_in("event.data.nul == async.data.id")
    assert expression.matches({"async": {"data": {"id": None}}}, now_ms=0)
    assert not expression.matches({"async": {"data": {}}}, now_ms=0)
    assert not expression.is_false()


@pytest.mark.parametrize(
    ("text", "is_false"),
    [
        ("event.data.n == 6", True),
        ("async.data.n == 5 && event.data.n == 6", True),
        ("async.data.n == 5 && event.data.n == 6 && async.data.s == 'a'", True),
        ("event.data.n == 6 || event.data.n == 7", True),
        ("event.data.s", True),
        ("event.data.n == 5", False),
        ("async.data.n == 5 && event.data.n == 5", False),
        ("async.data.n == 5 || event.data.n == 6", False),
        ("!(async.data.n == 5 && event.data.n == 6)", False),
    ],
)
def test_whether_it_can_still_match(text: str, is_false: bool) -> None:
    assert put_in(text).is_false() is is_false


def test_interpolating_again_and_for_another_event_are_independent() -> None:
    expression = compile_expression("event.data.id == async.data.id")
    texts = [expression.interpolate({"data": {"id": each}}).text for each in ("a", "b", "a")]
    assert texts == ['"a" == async.data.id', '"b" == async.data.id', '"a" == async.data.id']


def test_the_result_is_allowed_where_the_expression_was() -> None:
    for text in (
        "event.data.id == async.data.id",
        "async.data.n > event.data.miss",
        "event.data.nul == async.data.id",
        "!event.data.s || async.data.n in event.data.tags",
        "-5 < async.data.n && int(async.data.n) == int(event.data.n)",
    ):
        interpolated = compile_expression(text, policy=Policy.RESTRICTED).interpolate(EVENT)
        compile_expression(interpolated.text, policy=Policy.RESTRICTED)


@pytest.mark.parametrize(
    "data",
    [
        {"x": "a" * 100_000},
        {"x": list(range(NODES_MAX + 1))},
        {"x": {"k": [{"a": "b" * 30_000}, "c" * 40_000]}},
    ],
    ids=["long", "wide", "both"],
)
def test_an_event_too_large_to_put_in_is_refused(data: Any) -> None:
    with pytest.raises(ExpressionError, match="with the values of the event it is too large"):
        compile_expression("event.data.x == async.data.x").interpolate({"data": data})


def test_an_event_too_deep_to_put_in_is_refused() -> None:
    value: Any = 1
    for _ in range(200):
        value = [value]
    with pytest.raises(ExpressionError, match="too large"):
        compile_expression("event.data.x == async.data.x").interpolate({"data": {"x": value}})


def test_an_event_that_takes_too_long_is_refused() -> None:
    text = "event.data.l.all(x, event.data.l.all(y, x != y + 1)) && async.data.ok"
    with pytest.raises(ExpressionError, match="takes too long"):
        compile_expression(text).interpolate({"data": {"l": list(range(0, 100_000, 2))}})


def test_large_parts_of_the_event_that_do_not_stay_do_not_matter() -> None:
    event = {"data": {"x": "a" * 1_000_000, "n": 1}}
    assert compile_expression("size(event.data.x) == 1000000").interpolate(event).text == "true"
    assert compile_expression("event.data.n == async.data.n").interpolate(event).text == (
        "1 == async.data.n"
    )
