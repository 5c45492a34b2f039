"""HTTP 40: steps that are buffered and come with the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h40",
    behaviour="RunComplete in a 206 after two StepRuns saves both and completes",
    cannot={
        "stepwell": "its checkpoints are messages of their own, between it and our server",
        "go": "it reports both in a 206, and ends in a call of its own",
        "python": "it does not checkpoint",
        "typescript3": "it does not checkpoint by default",
    },
)


def test_checkpointed(app: RunningApp) -> None:
    event_id = app.send("checkpointed")

    assert app.api.completed(event_id) == 3

    (call,) = app.calls(event_id)
    assert call.answer.op_names()[-1] == "RunComplete"
    assert app.api.outputs(app.api.run_id(event_id)) == {"a": {"data": 1}, "b": {"data": 2}}
