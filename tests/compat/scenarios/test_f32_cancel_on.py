"""Flow 32: an event that cancels runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f32",
    behaviour="cancel_on with a match cancels; another event does not",
)


def test_cancel_on(app: RunningApp) -> None:
    cancelled = app.send("cancellable", {"id": "f32-a", "ms": 30_000})
    completes = app.send("cancellable", {"id": "f32-b", "ms": 1_000})
    app.waiting(cancelled)

    app.send("cancellable/stop", {"id": "f32-a"})
    app.send("cancellable/stop", {"id": "f32-c"})

    assert app.api.ended(cancelled)[0]["status"] == "Cancelled"
    assert app.api.completed(completes) == "finished"
