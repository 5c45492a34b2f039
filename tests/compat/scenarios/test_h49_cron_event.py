"""HTTP 49: the event of a run that a clock started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h49",
    behaviour="a cron run has inngest/scheduled.timer with data.cron",
    lasts=True,
)


def test_cron_event(app: RunningApp) -> None:
    call = app.recording.first("cron", lambda call: call.reply is not None, timeout_s=70)

    event = call.body["event"]
    assert event["name"] == "inngest/scheduled.timer"
    assert event["data"]["cron"] == "* * * * *"
