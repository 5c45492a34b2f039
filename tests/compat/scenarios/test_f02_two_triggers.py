"""Flow 2: two triggers of one function that match one event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f02",
    behaviour="a function with two matching triggers runs once",
)


def test_two_triggers(app: RunningApp) -> None:
    event_id = app.send("two/a")

    assert app.api.completed(event_id) == "two/a"

    app.settled()
    assert len(app.api.runs_of(event_id)) == 1
