"""Flow 5: a trigger's expression that gives a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f05",
    behaviour="an expression that is not boolean starts nothing",
)


def test_not_boolean(app: RunningApp) -> None:
    event_id = app.send("expr-text", {"word": "yes"})
    app.settled()

    assert app.api.runs_of(event_id) == []
