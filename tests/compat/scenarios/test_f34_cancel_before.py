"""Flow 34: an event that cancels, sent too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f34",
    behaviour="a cancelling event before the trigger has no effect",
)


def test_cancel_before(app: RunningApp) -> None:
    app.send("cancellable/stop", {"id": "f34"})
    event_id = app.send("cancellable", {"id": "f34", "ms": 1_000})

    assert app.api.completed(event_id) == "finished"
