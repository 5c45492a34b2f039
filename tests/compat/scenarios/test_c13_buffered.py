"""Checkpointing 13: a buffer that is not full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c13",
    behaviour="three steps in a buffer of five: no checkpoint, all come with the end",
    cannot={
        "python": "it does not checkpoint",
        "stepwell": "its own tests show it",
    },
)


def test_buffered(app: RunningApp) -> None:
    event_id = app.send("buffered")

    assert app.api.completed(event_id) == 3

    assert app.reports(event_id) == []
    steps = ["StepRun"] * 3
    if app.language.name == "go":  # which reports them, and ends in a call of its own
        first, last = app.calls(event_id)
        assert (first.answer.op_names(), last.answer.status) == (steps, 200)
    else:
        (call,) = app.calls(event_id)
        assert call.answer.op_names() == [*steps, "RunComplete"]
    outputs = app.api.outputs(app.api.run_id(event_id))
    assert outputs == {name: {"data": 1} for name in "abc"}
