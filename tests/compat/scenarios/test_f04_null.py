"""Flow 4: comparing a missing field with null."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f04",
    behaviour="a missing field equals null",
)


def test_null(app: RunningApp) -> None:
    absent, present = app.send("expr-null"), app.send("expr-null", {"x": 1})
    app.settled()

    assert app.functions_of(absent) == ["expr-null"]
    assert app.functions_of(present) == ["expr-not-null"]
