"""Every row of the tables, with its negation, before and after interpolation."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.expressions import ExpressionError, compile_expression
from tests.unit.expressions.tables import (
    ARRIVING,
    EVENT,
    FALSE,
    NEITHER,
    NO_BOOL,
    NOW_MS,
    OTHER_EVENT,
    OTHER_FALSE,
    OTHER_TRUE,
    REFUSED,
    TRIGGER,
    TRUE,
    WAIT_DOES_NOT_MATCH,
    WAIT_MATCHES,
    WAIT_REFUSED,
)


def matches(text: str, event: dict[str, Any]) -> bool:
    return compile_expression(text).matches({"event": event}, now_ms=NOW_MS)


@pytest.mark.parametrize("text", TRUE)
def test_true(text: str) -> None:
    assert (matches(text, EVENT), matches(f"!({text})", EVENT)) == (True, False)


@pytest.mark.parametrize("text", FALSE)
def test_false(text: str) -> None:
    assert (matches(text, EVENT), matches(f"!({text})", EVENT)) == (False, True)


@pytest.mark.parametrize("text", NEITHER)
def test_neither(text: str) -> None:
    assert (matches(text, EVENT), matches(f"!({text})", EVENT)) == (False, False)


@pytest.mark.parametrize("text", NO_BOOL)
def test_a_constant_that_is_no_bool(text: str) -> None:
    assert not matches(text, EVENT)
    with pytest.raises(ExpressionError):
        compile_expression(f"!({text})")


@pytest.mark.parametrize("text", OTHER_TRUE)
def test_true_of_the_other_event(text: str) -> None:
    assert matches(text, OTHER_EVENT)


@pytest.mark.parametrize("text", OTHER_FALSE)
def test_not_true_of_the_other_event(text: str) -> None:
    assert not matches(text, OTHER_EVENT)


@pytest.mark.parametrize("text", [*REFUSED, *WAIT_REFUSED])
def test_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)


@pytest.mark.parametrize("text", [*TRUE, *FALSE, *NEITHER])
def test_interpolation_decides_what_only_the_event_decides(text: str) -> None:
    expected = matches(text, EVENT)
    expression = compile_expression(text).interpolate(EVENT)
    assert expression.matches({}, now_ms=NOW_MS) is expected
    assert compile_expression(expression.text).matches({}, now_ms=NOW_MS) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [(text, True) for text in WAIT_MATCHES] + [(text, False) for text in WAIT_DOES_NOT_MATCH],
)
def test_a_wait_matches_the_same_interpolated_or_not(text: str, expected: bool) -> None:
    expression = compile_expression(text)
    both = expression.matches({"event": TRIGGER, "async": ARRIVING}, now_ms=NOW_MS)
    put_in = expression.interpolate(TRIGGER)
    read_back = compile_expression(put_in.text)
    one = [each.matches({"async": ARRIVING}, now_ms=NOW_MS) for each in (put_in, read_back)]
    assert [both, *one] == [expected] * 3, put_in.text


def test_the_tables_are_whole() -> None:
    assert len({*TRUE, *FALSE, *NEITHER, *NO_BOOL}) == 180
    assert (len(OTHER_TRUE), len(OTHER_FALSE), len(REFUSED)) == (14, 1, 16)
    assert (len(WAIT_MATCHES), len(WAIT_DOES_NOT_MATCH), len(WAIT_REFUSED)) == (28, 8, 3)
