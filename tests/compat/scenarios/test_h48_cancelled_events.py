"""HTTP 48: what is told of a run that was cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.recording import Call
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h48",
    behaviour="cancelling emits function.cancelled, and no function.failed",
)


def test_cancelled_events(app: RunningApp) -> None:
    event_id = app.send("cancellable", {"id": "h48", "ms": 30_000})
    app.waiting(event_id)

    app.send("cancellable/stop", {"id": "h48"})

    (run,) = app.api.ended(event_id)
    assert run["status"] == "Cancelled"
    run_id = run["run_id"]

    def of_the_run(call: Call) -> bool:
        found: bool = call.body["event"]["data"]["run_id"] == run_id
        return found

    event = app.recording.first("watch-cancelled", of_the_run).body["event"]
    assert event["id"] == run_id
    assert event["data"]["_inngest"]["status"] == "Cancelled"
    assert event["data"]["function_id"] == "scenarios-cancellable"
    app.settled()
    assert app.recording.count("watch-failed", of_the_run) == 0
