"""Checkpointing 20: values that JSON changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c20",
    behaviour="a date that a step returns is the same text at once and after a replay",
    cannot={
        "python": "it does not checkpoint",
        "stepwell": "its own tests show it",
        "typescript3": "until a replay it gives what the step returned",
        "go": "until a replay it gives what the step returned",
    },
)


def test_round_trip(app: RunningApp) -> None:
    event_id = app.send("eager-date")

    live, replayed = app.api.completed(event_id)

    assert live == replayed
    assert live.startswith("1970-01-01T00:00:00")
    assert [report.steps for report in app.reports(event_id)] == [["a"], ["live"]]
