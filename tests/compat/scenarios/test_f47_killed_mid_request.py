"""Flow 47: a server that is killed while the app works for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f47",
    behaviour="killed in mid-request, the server has the call done again or takes its result",
    cannot={"go-connect": "its worker ends for good when the connection is lost without a word"},
)


def test_killed_mid_request(own_app: RunningApp, tmp_path: Path) -> None:
    app = own_app
    gate = tmp_path / "open"
    event_id = app.send("hold", {"path": str(gate)})
    run_id = app.api.run_id(event_id)
    wait_for(lambda: app.api.outputs(run_id).get("before"), "the first step to be saved")

    app.server.kill()
    gate.touch()  # the step ends while there is no server
    app.server.start()

    assert app.api.completed(event_id, timeout_s=50) == 6
    assert app.api.outputs(run_id) == {
        "before": {"data": 1},
        "hold": {"data": 2},
        "after": {"data": 3},
    }
