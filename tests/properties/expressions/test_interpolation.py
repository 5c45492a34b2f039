"""An expression means the same with the event put in, and so does its text read again."""

from __future__ import annotations

import random
import re
from typing import Any

from stepwell.expressions import EvaluationError, Expression, ExpressionError, compile_expression
from tests.properties.expressions.programs import EVENT, NOW_MS, Program

PROGRAMS = 1_500
FAILED = "no value"


def shared_out(seed: int) -> str:
    """A generated expression; every second reference or so is to the arriving event."""
    chance = random.Random(seed)
    return re.sub(r"\bevent\.", lambda _: chance.choice(("event.", "async.")), Program(seed).text)


def value_of(expression: Expression, variables: dict[str, Any]) -> Any:
    try:
        return expression.evaluate(variables, now_ms=NOW_MS)
    except EvaluationError:
        return FAILED


def same(left: Any, right: Any) -> bool:
    """Equal, of the same types, with lists and maps of events and of expressions alike."""
    return repr(_plain(left)) == repr(_plain(right))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(float(each) if _is_raw(each, value) else each) for each in value]
    if isinstance(value, dict):
        return [
            [key, _plain(float(each) if type(value) is dict and type(each) is int else each)]
            for key, each in value.items()
        ]
    return value


def _is_raw(each: Any, of: Any) -> bool:
    return type(of) is list and type(each) is int


def test_a_value_is_the_same_interpolated_and_read_again() -> None:
    both, arriving = {"event": EVENT, "async": EVENT}, {"async": EVENT}
    remaining = 0
    for seed in range(PROGRAMS):
        text = shared_out(seed)
        expression = compile_expression(text)
        interpolated = expression.interpolate(EVENT)
        read_back = compile_expression(interpolated.text)
        values = [
            value_of(expression, both),
            value_of(interpolated, arriving),
            value_of(read_back, arriving),
        ]
        assert same(values[0], values[1]), (seed, text, interpolated.text, values)
        assert same(values[0], values[2]), (seed, text, interpolated.text, values)
        assert interpolated.equalities() == () or "async." in interpolated.text
        if interpolated.is_false():
            assert values[0] is not True
        remaining += "async." in interpolated.text
    assert remaining > PROGRAMS / 5, "too few depend on the arriving event"


def test_an_event_that_has_less_is_put_in_all_the_same() -> None:
    chance = random.Random(1)
    for seed in range(PROGRAMS):
        fields = [each for each in EVENT["data"] if chance.random() < 0.7]
        event = {**EVENT, "data": {each: EVENT["data"][each] for each in fields}}
        text = shared_out(seed)
        expression = compile_expression(text)
        interpolated = expression.interpolate(event)
        read_back = compile_expression(interpolated.text)
        expected = expression.matches({"event": event, "async": EVENT}, now_ms=NOW_MS)
        for each in (interpolated, read_back):
            found = each.matches({"async": EVENT}, now_ms=NOW_MS)
            assert found is expected, (seed, text, interpolated.text)


def test_whatever_the_text_it_is_read_or_refused() -> None:
    """Programs with some characters changed, so that most are no expressions."""
    chance = random.Random(2)
    refused: list[ExpressionError] = []
    for seed in range(PROGRAMS):
        characters = list(Program(seed).text[:200])
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(characters))
            characters[at] = chance.choice("()[]{}.,:?!&|=<>+-*/%'\"\\ \nabx019ué\0")
        try:
            expression = compile_expression("".join(characters))
        except ExpressionError as error:
            refused.append(error)
            continue
        value_of(expression, {"event": EVENT})
        value_of(expression.interpolate(EVENT), {})
        expression.matches({}, now_ms=NOW_MS)
    assert PROGRAMS / 4 < len(refused) < PROGRAMS
    assert all(each.line >= 1 and each.column >= 1 and each.reason for each in refused)
