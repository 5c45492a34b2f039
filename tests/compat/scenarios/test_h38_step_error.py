"""HTTP 38: a step that fails for good can be caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h38",
    behaviour="a step out of attempts: its error is a memo that code catches",
    cannot={
        "go-connect": "a step's last error is answered as the function's, which ends the run",
    },
)


def test_step_error(app: RunningApp) -> None:
    event_id = app.send("step-fails")

    output = app.api.completed(event_id)

    assert output == {"caught": "bad step", "after": "went on"}
    calls = app.calls(event_id)
    assert [call.context["attempt"] for call in calls[:3]] == [0, 1, 0]
    memo = calls[2].body["steps"][step_hash("bad")]
    assert memo["error"]["message"] == "bad step"
