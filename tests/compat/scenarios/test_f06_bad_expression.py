"""Flow 6: a trigger whose expression cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.running_app import Options
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f06",
    behaviour="a trigger that does not compile: the whole sync is refused, nothing is stored",
)


def test_bad_expression(start_app: Callable[[Options], RunningApp]) -> None:
    app = start_app(Options(bad="expression"))

    assert app.refusal
    assert app.api.runs_of(app.send("echo", {"value": 1})) == []
