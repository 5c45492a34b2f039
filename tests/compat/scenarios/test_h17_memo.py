"""HTTP 17: what the next call says of a step that was reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(number="h17", behaviour="a reported step is in the next call's steps and stack")


def test_memo(app: RunningApp) -> None:
    event_id = app.send("one-step")

    app.api.completed(event_id)

    first, second = app.calls(event_id)
    assert [(op["op"], op["id"]) for op in first.answer.ops] == [("StepRun", step_hash("a"))]
    assert second.body["steps"] == {step_hash("a"): {"data": 7}}
    assert second.context["stack"] == {"stack": [step_hash("a")], "current": 1}
    assert second.context["attempt"] == 0
    assert second.answer.status == 200
