"""Flow 38: a wait with a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f38",
    behaviour="the expression of a wait compares the event with the trigger",
)


def test_wait_expression(app: RunningApp) -> None:
    event_id = app.send(
        "wait", {"event": "f38/go", "if": "async.data.n > event.data.n", "n": 5, "ms": 20_000}
    )
    app.waiting(event_id)

    app.send("f38/go", {"n": 4})
    app.send("f38/go", {"n": 6})

    assert app.api.completed(event_id) == {"event": {"name": "f38/go", "data": {"n": 6}}}
