"""HTTP 42: a function that starts when its parent has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h42",
    behaviour="DeferAdd beside a step; the deferred run starts after the parent ends",
    cannot=dict.fromkeys(("python", "typescript3", "go"), "it has no deferred functions"),
)


def test_defer(app: RunningApp) -> None:
    event_id = app.send("deferring")

    assert app.api.completed(event_id) == 1

    parent = app.calls(event_id)
    assert not any(call.context["disable_immediate_execution"] for call in parent)
    child = app.recording.first("deferred", lambda call: call.body["event"]["data"]["n"] == 5)
    assert child.at_s > parent[-1].answer.at_s
