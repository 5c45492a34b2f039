"""Flow 46: a step that says when to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f46",
    behaviour="Retry-After of a step sets the time of the next attempt",
)


def test_step_retry_after(app: RunningApp) -> None:
    event_id = app.send("step-retry-after")

    assert app.api.completed(event_id) == 1

    first, second, *_ = app.calls(event_id)
    # Two seconds were asked for; SDKs may give whole seconds. Without it, it would be 0.3 s.
    assert second.at_s - first.answer.at_s > 0.9
