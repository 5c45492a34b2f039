"""Flow 39: many runs that wait for events of one name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f39",
    behaviour="of 60 waits with an id each, an event ends exactly one",
)


COUNT = 60


def test_many_waits(app: RunningApp) -> None:
    same = "async.data.id == event.data.id"
    data = {"event": "f39/go", "if": same, "ms": 40_000}
    event_ids = app.api.send_all(
        {"name": "wait", "data": {**data, "id": f"f39-{number}"}} for number in range(COUNT)
    )
    for event_id in event_ids:
        app.waiting(event_id)

    app.send("f39/go", {"id": "f39-7"})

    output = app.api.completed(event_ids[7])
    assert output == {"event": {"name": "f39/go", "data": {"id": "f39-7"}}}
    app.settled()
    others = {app.api.status(each) for number, each in enumerate(event_ids) if number != 7}
    assert others == {"Running"}
    app.api.send_all({"name": "f39/go", "data": {"id": f"f39-{number}"}} for number in range(COUNT))
    for event_id in event_ids:
        app.api.completed(event_id)
