"""HTTP 32: every way to say how long to sleep."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h32",
    behaviour="a sleep by duration and by date; one of 400 days fails the run",
)


DAY_MS = 86_400_000


def test_sleep(app: RunningApp) -> None:
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    by_duration = app.send("sleep", {"ms": 1_000})
    by_date = app.send("sleep", {"until": until.isoformat(timespec="seconds")})
    too_long = app.send("sleep", {"ms": 400 * DAY_MS})

    for event_id in (by_duration, by_date):
        assert app.api.completed(event_id) == "woke"
        first, *_, last = app.calls(event_id)
        assert last.at_s - first.answer.at_s > 0.5
    assert "InngestErrTimeoutTooLong" in str(app.api.failed(too_long))
    assert len(app.calls(too_long)) == 1
