"""Flow 35: a run that takes too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f35",
    behaviour="timeouts.finish cancels the run",
)


def test_finish_timeout(app: RunningApp) -> None:
    event_id = app.send("finish-timeout")

    (run,) = app.api.ended(event_id, timeout_s=20)

    assert run["status"] == "Cancelled"
