"""HTTP 28: a server that is killed while a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h28",
    behaviour="a run goes on after the server was killed; what was saved stays",
    cannot={"go-connect": "its worker ends for good when the connection is lost without a word"},
)


def test_killed_server(own_app: RunningApp, tmp_path: Path) -> None:
    app = own_app
    gate = tmp_path / "open"
    event_id = app.send("hold", {"path": str(gate)})
    run_id = app.api.run_id(event_id)
    wait_for(lambda: app.api.outputs(run_id).get("before"), "the first step to be saved")

    app.server.kill()
    app.server.start()
    gate.touch()

    assert app.api.completed(event_id) == 6
    calls = app.recording.of(run_id)
    reported = [op["id"] for call in calls if call.reply for op in call.reply.ops]
    assert reported.count(step_hash("before")) <= 1, "it was saved: never asked for again"
    assert app.api.outputs(run_id)["before"] == {"data": 1}
