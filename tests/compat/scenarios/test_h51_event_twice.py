"""HTTP 51: two events of one id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h51",
    behaviour="two events with the same id start a function once",
)


def test_event_twice(app: RunningApp) -> None:
    twin = {"name": "echo", "id": "h51-twin", "data": {"value": "twin"}}
    sender = app.send("send", {"events": [twin, twin]})

    ids = app.api.completed(sender)
    assert len(ids) == 2

    app.api.wait_until_over(ids)
    assert sum(len(app.api.runs_of(each)) for each in set(ids)) == 1
    assert app.recording.count("echo", lambda call: call.body["event"]["id"] == "h51-twin") > 0
