"""Flow 33: an event that comes after the time in which it cancels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f33",
    behaviour="cancel_on with a timeout does nothing after it",
)


def test_cancel_window(app: RunningApp) -> None:
    event_id = app.send("cancel-window")
    app.waiting(event_id)
    app.api.completed(app.send("sleep", {"ms": 2_000}))  # longer than the window of one second

    app.send("cancel-window/stop")
    app.send("cancel-window/go")

    assert app.api.completed(event_id) == "finished"
