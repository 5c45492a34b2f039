"""Flow 45: an event that lies in the future."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(number="f45", behaviour="a run starts at its event's ts when that lies in the future")


def test_future_event(app: RunningApp) -> None:
    at_ms = int(time.time() * 1000) + 2_000
    event_id = app.send("echo", {"value": "later"}, ts=at_ms)
    sent_s = time.monotonic()

    assert app.api.completed(event_id) == "later"

    assert app.calls(event_id)[0].at_s - sent_s > 1.5
