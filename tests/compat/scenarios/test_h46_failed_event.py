"""HTTP 46: the event of a failure, and the function that it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h46",
    behaviour="function.failed starts the on_failure function, with the trigger event",
    cannot={"go": "it has no on_failure"},
)


def test_failed_event(app: RunningApp) -> None:
    event_id = app.send("failing", {"order": 46})

    app.api.failed(event_id)

    run_id = app.api.run_id(event_id)
    call = app.recording.first(
        "failing-failure", lambda call: call.body["event"]["data"]["run_id"] == run_id
    )
    event = call.body["event"]
    assert (event["name"], event["id"]) == ("inngest/function.failed", run_id)
    assert event["data"]["function_id"] == "scenarios-failing"
    assert event["data"]["event"]["name"] == "failing"
    assert event["data"]["event"]["data"] == {"order": 46}
    assert event["data"]["error"]["message"] == "no stock"
    wait_for(lambda: call.reply, "the handler's answer")
    assert call.answer.status in (200, 206)
