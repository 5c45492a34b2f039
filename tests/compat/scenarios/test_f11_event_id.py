"""Flow 11: an event that is sent five times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f11",
    behaviour="an event id starts a function once, also after its run has ended",
)


def test_event_id(app: RunningApp) -> None:
    sent = [app.send("echo", {"value": "f11"}, id="f11-event") for _ in range(4)]
    app.api.wait_until_over(sent)
    sent.append(app.send("echo", {"value": "f11"}, id="f11-event"))
    app.settled()

    assert sum(len(app.api.runs_of(each)) for each in set(sent)) == 1
