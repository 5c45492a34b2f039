"""HTTP 22: a proxy that answers in the app's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.http_tap import HttpTap
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h22",
    behaviour="a 404 that no SDK gave is retried; the last one names the server's fatal error",
    over="serve",
)


def test_proxy(app: RunningApp) -> None:
    assert isinstance(app.tap, HttpTap)
    app.tap.refuses["one-step"] = 1
    event_id = app.send("one-step")
    assert app.api.completed(event_id) == {"a": 7, "attempt": 0}
    assert [call.context["attempt"] for call in app.calls(event_id)] == [0, 1, 0]

    app.tap.refuses["fails-0"] = 1
    error = app.api.failed(app.send("fails-0"))
    assert error["name"] == "Server returned a fatal error"
    assert "HTTP 404" in error["message"]
