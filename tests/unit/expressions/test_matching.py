"""What an index of waits is made of."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest

from stepwell.expressions import MISSING, Equality, compile_expression, index_value, value_at
from stepwell.expressions.semantics import Frame, equal
from stepwell.expressions.values import Uint, loaded


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("async.data.id == '7'", [(("data", "id"), "7")]),
        ("'7' == async.data.id", [(("data", "id"), "7")]),
        ("async.data['id'] == 7", [(("data", "id"), 7)]),
        ("async.name == 'a' && async.data.b == true", [(("name",), "a"), (("data", "b"), True)]),
        (
            "(async.data.a == 1 && async.data.b > 2) && async.data.c == -1.5",
            [(("data", "a"), 1), (("data", "c"), -1.5)],
        ),
        ("async.data.a == 1 || async.data.b == 2", []),
        ("!(async.data.a == 1)", []),
        ("async.data.a != 1", []),
        ("async.data.a == null", []),
        ("async.data.a == [1]", []),
        ("async.data.a == b'x'", []),
        ("async.data.a[0] == 1", []),
        ("async.data.a == async.data.b", []),
        ("event.data.a == 1", []),
        ("async == 1", []),
        ("async.data.l.exists(async, async.a == 1)", []),
        ("true ? async.data.a == 1 : false", []),
    ],
)
def test_the_equalities_that_must_hold(text: str, found: list[Any]) -> None:
    expected = tuple(Equality(path, value) for path, value in found)
    assert compile_expression(text).equalities() == expected


def test_an_interpolated_expression_has_equalities() -> None:
    expression = compile_expression("event.data.id == async.data.id && async.data.n > 5")
    interpolated = expression.interpolate({"data": {"id": 7}})
    assert interpolated.equalities() == (Equality(("data", "id"), 7.0),)
    assert compile_expression(interpolated.text).equalities() == (Equality(("data", "id"), 7),)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("async", "data", "n"), 6.0),
        (("async", "data", "s"), "a"),
        (("async", "data", "nul"), None),
        (("async", "data", "miss"), MISSING),
        (("async", "data", "miss", "deeper"), MISSING),
        (("async", "data", "s", "deeper"), MISSING),
        (("event", "data"), MISSING),
    ],
)
def test_the_value_at_a_path(path: tuple[str, ...], value: Any) -> None:
    found = value_at({"async": {"data": {"n": 6, "s": "a", "nul": None}}}, path)
    assert found == value
    assert type(found) is type(value)


VALUES: list[Any] = [
    *(0, 0.0, -0.0, 1, 1.0, Uint(1), -1, 1.5, 2**53, 2**53 + 1, 2**64, 10**400, -(10**400)),
    *(math.inf, math.nan, "", "1", "1.0", "a" * 64, "a" * 65, "é" * 40, "é" * 41, "t", "\ud800"),
    *(True, False, None, MISSING, [], [1], {}, {"a": 1}, b"1"),
]


def test_values_are_equal_exactly_if_their_forms_are() -> None:
    frame = Frame({}, 0, 0)
    for left, right in product(map(loaded, VALUES), repeat=2):
        form = index_value(left)
        if form is not None:
            assert (form == index_value(right)) is equal(frame, left, right), (left, right)


@pytest.mark.parametrize("value", [MISSING, None, [], [1], {}, {"a": 1}, b"1", math.nan])
def test_what_has_no_form(value: Any) -> None:
    assert index_value(value) is None


def test_a_form_is_short() -> None:
    form = index_value("a" * 1_000_000)
    assert form is not None
    assert len(form) == 17
