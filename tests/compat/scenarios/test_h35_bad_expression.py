"""HTTP 35: a wait whose expression cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h35",
    behaviour="an invalid expression of a wait fails the run without a retry",
)


def test_bad_expression(app: RunningApp) -> None:
    event_id = app.send("wait", {"event": "h35/go", "if": "async.data.(", "ms": 20_000})

    app.api.failed(event_id)

    assert len(app.calls(event_id)) == 1
