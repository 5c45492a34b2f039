"""Flow 7: a function that runs each minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f07",
    behaviour="a cron trigger fires within a minute",
    lasts=True,
)


def test_cron(app: RunningApp) -> None:
    call = app.recording.first("cron", lambda call: call.reply is not None, timeout_s=70)

    assert call.body["event"]["name"] == "inngest/scheduled.timer"
    wait_for(lambda: app.api.run(call.run_id)["status"] == "COMPLETED" or None, "its end")
