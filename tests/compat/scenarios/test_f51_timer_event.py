"""Flow 51: a function that listens to every clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f51",
    behaviour="a trigger on inngest/scheduled.timer runs at every tick",
    lasts=True,
)


def test_timer_event(app: RunningApp) -> None:
    call = app.recording.first("on-timer", lambda call: call.reply is not None, timeout_s=70)

    assert call.body["event"]["data"]["cron"] == "* * * * *"
