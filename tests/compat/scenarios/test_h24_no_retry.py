"""HTTP 24: an error that must not be retried, and one that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h24", behaviour="a non-retriable error ends the run at once; another is retried"
)


def test_no_retry(app: RunningApp) -> None:
    never = app.send("never")
    fails = app.send("fails")

    assert "never" in app.api.failed(never)["message"]
    assert "no stock" in app.api.failed(fails)["message"]

    (call,) = app.calls(never)
    assert call.answer.no_retry
    assert [call.context["attempt"] for call in app.calls(fails)] == [0, 1, 2, 3, 4]
    assert {call.context["max_attempts"] for call in app.calls(fails)} == {5}
