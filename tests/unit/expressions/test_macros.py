"""Macros over lists and maps."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.expressions import EvaluationError, compile_expression

DATA: dict[str, Any] = {
    "list": [1, 2, 3],
    "mixed": [1, "x", None, 0],
    "objs": [{"a": 1}, {"a": 2}, {}],
    "obj": {"a": 1, "b": 2},
    "empty": [],
}


def evaluate(text: str) -> Any:
    return compile_expression(text).evaluate({"event": {"data": DATA}}, now_ms=0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("event.data.list.all(x, x > 0)", True),
        ("event.data.list.all(x, x > 1)", False),
        ("event.data.empty.all(x, false)", True),
        ("event.data.list.exists(x, x == 3)", True),
        ("event.data.empty.exists(x, true)", False),
        ("event.data.list.exists_one(x, x > 2)", True),
        ("event.data.list.exists_one(x, x > 1)", False),
        ("event.data.list.filter(x, x != 2)", (1.0, 3.0)),
        ("event.data.list.map(x, x * 2)", (2.0, 4.0, 6.0)),
        ("event.data.list.map(x, x > 1, int(x))", (2, 3)),
        ("event.data.objs.map(o, o.a == null)", (False, False, True)),
        ("event.data.objs.filter(o, has(o.a)).size()", 2),
        ("event.data.obj.all(k, k in ['a', 'b'])", True),
        ("event.data.obj.map(k, event.data.obj[k])", (1.0, 2.0)),
        ("{true: 1, 2: 3}.map(k, k)", (True, 2)),
        ("event.data.mixed.filter(x, x)", (1.0, "x")),
        ("event.data.list.map(x, event.data.list.map(y, x * y)[2])", (3.0, 6.0, 9.0)),
        ("event.data.list.map(x, x).map(x, x + 1).filter(x, x > 2)", (3.0, 4.0)),
        ("event.data.list.exists(x, event.data.list.all(x, x > 0) && x == 3)", True),
        ("[1, 2].map(x, x / 2)", (0, 1)),
        ("event.data.list.map(int, int)", (1.0, 2.0, 3.0)),
    ],
)
def test_a_value(text: str, value: Any) -> None:
    assert evaluate(text) == value


def test_an_element_that_fails_matters_only_if_no_other_decides() -> None:
    assert evaluate("[0, 1].exists(x, 1 / x > 0)") is True
    assert evaluate("[1, 0].all(x, 1 / x > 1)") is False
    for text in (
        "[0].exists(x, 1 / x > 0)",
        "[0, 1].all(x, 1 / x > 0)",
        "[0, 1].exists_one(x, 1 / x > 0)",
        "[0].map(x, 1 / x)",
        "[0].filter(x, 1 / x > 0)",
    ):
        with pytest.raises(EvaluationError, match="division by zero"):
            evaluate(text)


@pytest.mark.parametrize("macro", ["all", "exists", "exists_one", "filter", "map"])
def test_what_has_no_elements_is_an_error(macro: str) -> None:
    with pytest.raises(EvaluationError, match="of what is missing"):
        evaluate(f"event.data.miss.{macro}(x, true)")
    with pytest.raises(EvaluationError, match="not a string"):
        evaluate(f"'abc'.{macro}(x, true)")
