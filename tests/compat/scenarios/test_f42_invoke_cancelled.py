"""Flow 42: an invoked run that is cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f42",
    behaviour="a cancelled child is an error of the step at once",
)


def test_invoke_cancelled(app: RunningApp) -> None:
    event_id = app.send("invoke", {"function": "child-stops", "data": {}})
    app.recording.first("child-stops", lambda call: call.reply is not None)

    wait_for(
        lambda: app.send("child-stops/stop") and app.over(event_id), "the parent to hear of it"
    )

    output = app.api.completed(event_id)
    assert "cancel" in output["error"].lower()
