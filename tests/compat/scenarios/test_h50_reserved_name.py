"""HTTP 50: an event of an app that has a reserved name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h50",
    behaviour="an event named inngest/... is refused; data._inngest is stripped",
)


def test_reserved_name(app: RunningApp) -> None:
    event_id = app.send("send", {"events": [{"name": "inngest/x", "data": {}}]})

    assert "reserved" in str(app.api.failed(event_id))

    stripped = app.send("echo", {"value": 1, "_inngest": {"fn_id": "scenarios-never"}})
    assert app.api.completed(stripped) == 1
    assert app.calls(stripped)[0].body["event"]["data"] == {"value": 1}
