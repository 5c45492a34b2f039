"""HTTP 47: an on_failure function that fails itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.recording import Call
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h47",
    behaviour="a failing on_failure run is silent",
    cannot={"go": "it has no on_failure"},
)


def test_handler_fails(app: RunningApp) -> None:
    event_id = app.send("failing-twice")
    app.api.failed(event_id)
    run_id = app.api.run_id(event_id)

    def of_the_run(call: Call) -> bool:
        found: bool = call.body["event"]["data"]["run_id"] == run_id
        return found

    handler = app.recording.first("failing-twice-failure", of_the_run)
    wait_for(lambda: app.api.run(handler.run_id)["status"] == "FAILED" or None, "its end")
    app.settled()

    assert app.recording.count("watch-failed", of_the_run) == 1
    silent = handler.run_id
    assert (
        app.recording.count(
            "watch-failed", lambda call: call.body["event"]["data"]["run_id"] == silent
        )
        == 0
    )
