"""HTTP 33: waiting for an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h33",
    behaviour="the memo of a wait is the event itself, null at the timeout",
)


def test_wait(app: RunningApp) -> None:
    waits = app.send("wait", {"event": "h33/go", "ms": 20_000})
    own_event = app.send(
        "wait", {"event": "wait", "if": "async.data.own == 33", "ms": 1_000, "own": 33}
    )
    app.waiting(waits)

    app.send("h33/go", {"n": 1}, user={"id": 2})

    assert app.api.completed(waits) == {"event": {"name": "h33/go", "data": {"n": 1}}}
    memo = app.calls(waits)[-1].body["steps"][step_hash("w")]
    assert {"name", "data", "id", "ts", "user"} <= set(memo)
    assert (memo["name"], memo["data"], memo["user"]) == ("h33/go", {"n": 1}, {"id": 2})
    assert app.api.completed(own_event) == {"event": None}, "its own trigger does not count"
    assert app.calls(own_event)[-1].body["steps"] == {step_hash("w"): None}
