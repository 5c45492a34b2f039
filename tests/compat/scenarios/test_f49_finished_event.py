"""Flow 49: a function that other functions' ends start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f49",
    behaviour="function.finished starts a function, with the result or the error",
)


def test_finished_event(app: RunningApp) -> None:
    good = app.send("echo", {"value": "f49"})
    bad = app.send("never")
    app.api.completed(good)
    app.api.failed(bad)

    def told(event_id: str) -> dict[str, Any]:
        run_id = app.api.run_id(event_id)
        call = app.recording.first(
            "watch-echo", lambda call: call.body["event"]["data"]["run_id"] == run_id
        )
        data: dict[str, Any] = call.body["event"]["data"]
        return data

    assert told(good)["result"] == "f49"
    assert told(good)["_inngest"]["status"] == "Completed"
    assert "never" in told(bad)["error"]["message"]
    assert told(bad)["_inngest"]["status"] == "Failed"
