"""Ours gives the value that other implementations of CEL give, wherever they give one."""

from __future__ import annotations

from itertools import count

import pytest

from tests.properties.expressions.agreement import Agreement
from tests.properties.expressions.oracles import NoValue, Verdict, ask
from tests.properties.expressions.programs import Program

AGREED = 10_000
EACH_MIN = 50


@pytest.mark.timeout(120)  # 7 s on an idle core
def test_ten_thousand_expressions_have_the_value_that_the_oracles_give() -> None:
    total = Agreement()
    for seed in count():
        total.compare(seed)
        if total.agreed >= AGREED or total.failures:
            break
    print(total.summary())
    assert total.faults(each_min=EACH_MIN) == []


def test_a_seed_makes_the_same_expression_again() -> None:
    assert [Program(seed).text for seed in range(50)] == [Program(seed).text for seed in range(50)]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("1 + 1 == 2", Verdict.AGREED),
        ("5 / 0", Verdict.BOTH_FAIL),
        ("5 / 0 == 1", Verdict.ERRORS),
        ("(1 / 0 == 1) && false", Verdict.AGREED),
        ("1 / 0 > 1 && false", Verdict.ERRORS),
        ("[1][1]", Verdict.MISSING),
        ("event.data.n + 1", Verdict.DIFFERENT),  # a double and an integer: a rule of ours
        ("lowercase(event.data.up)", Verdict.AGREED),
    ],
)
def test_a_comparison_tells_how_it_came_out(text: str, verdict: Verdict) -> None:
    answer = ask(text)
    assert answer.verdict is verdict, (answer.ours, answer.theirs)


def test_a_value_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.properties.expressions import oracles

    def refuse(text: str) -> oracles.Typed:
        raise NoValue("INTERNAL")

    monkeypatch.setattr(oracles, "google_value", refuse)
    found = Agreement()
    for seed in range(20):
        found.compare(seed)
    assert found.faults(each_min=0)
