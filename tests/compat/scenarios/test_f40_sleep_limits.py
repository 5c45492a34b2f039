"""Flow 40: sleeps that are too long, or over before they begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f40",
    behaviour="a sleep of 367 days fails the run; one until a past date ends at once",
)


DAY_MS = 86_400_000


def test_sleep_limits(app: RunningApp) -> None:
    too_long = app.send("sleep", {"ms": 367 * DAY_MS})
    past = app.send("sleep", {"until": "2020-01-01T00:00:00+00:00"})

    assert "InngestErrTimeoutTooLong" in str(app.api.failed(too_long))
    assert app.api.completed(past) == "woke"
