"""Flow 44: how often a failure is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.recording import Call
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f44",
    behaviour="a failing run gives one function.failed; its handler runs once",
    cannot={"go": "it has no on_failure"},
)


def test_failed_once(app: RunningApp) -> None:
    event_id = app.send("failing")
    app.api.failed(event_id)
    run_id = app.api.run_id(event_id)

    def of_the_run(call: Call) -> bool:
        found: bool = call.body["event"]["data"]["run_id"] == run_id
        return found

    app.recording.first("failing-failure", of_the_run)
    app.recording.first("watch-failed", of_the_run)
    app.settled()

    assert app.recording.count("failing-failure", of_the_run) == 1
    assert app.recording.count("watch-failed", of_the_run) == 1
