"""HTTP 39: a step's error that must not be retried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h39",
    behaviour="a step's non-retriable error is a memo in the next call",
    cannot={
        "go-connect": "a step's last error is answered as the function's, which ends the run",
        "python": "its NonRetriableError leaves the step and fails the function",
        "stepwell": "as the official Python SDK: the error leaves the step",
    },
)


def test_step_no_retry(app: RunningApp) -> None:
    event_id = app.send("step-never")

    output = app.api.completed(event_id)

    assert output == {"caught": "bad step", "after": "went on"}
    first, second, *_ = app.calls(event_id)
    assert first.answer.ops[-1]["id"] == step_hash("bad")
    assert second.context["attempt"] == 0
    assert second.body["steps"][step_hash("bad")]["error"]["message"] == "bad step"
