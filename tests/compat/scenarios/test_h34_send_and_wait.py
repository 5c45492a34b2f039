"""HTTP 34: a wait beside the step that sends its event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h34",
    behaviour="of a step that sends an event and a wait for it in one answer, the wait sees it",
)


def test_send_and_wait(app: RunningApp) -> None:
    event_id = app.send("send-and-wait")

    assert app.api.completed(event_id) == {"event": {"name": "send-and-wait/e", "data": {"n": 1}}}

    first = app.calls(event_id)[0]
    assert sorted(first.answer.op_names()) == ["StepPlanned", "WaitForEvent"]
