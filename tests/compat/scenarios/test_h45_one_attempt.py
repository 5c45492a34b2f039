"""HTTP 45: a function without retries that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h45",
    behaviour="retries 0: one attempt, then function.failed with error and result",
)


def test_one_attempt(app: RunningApp) -> None:
    event_id = app.send("fails-0")

    assert "no stock" in app.api.failed(event_id)["message"]

    assert len(app.calls(event_id)) == 1
    run_id = app.api.run_id(event_id)
    told = app.recording.first(
        "watch-failed", lambda call: call.body["event"]["data"]["run_id"] == run_id
    )
    data = told.body["event"]["data"]
    assert "no stock" in data["error"]["message"]
    assert "no stock" in str(data["result"])
