"""Flow 37: an event that came before the wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f37",
    behaviour="an event before the wait does not end it",
)


def test_earlier_event(app: RunningApp) -> None:
    app.send("f37/go", {"n": 1})
    event_id = app.send("wait", {"event": "f37/go", "ms": 20_000})
    app.waiting(event_id)

    app.send("f37/go", {"n": 2})

    assert app.api.completed(event_id) == {"event": {"name": "f37/go", "data": {"n": 2}}}
