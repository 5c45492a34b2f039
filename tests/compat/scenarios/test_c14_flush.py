"""Checkpointing 14: a buffer before what ends a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c14",
    behaviour="a failed step or a sleep after buffered steps: they are stored first",
    cannot={
        "python": "it does not checkpoint",
        "stepwell": "its own tests show it",
        "typescript3": "it drops its buffer, and does those steps again",
    },
)


def test_failed(app: RunningApp) -> None:
    event_id = app.send("buffered-fails")

    assert app.api.completed(event_id) == 3

    first, second, last = app.calls(event_id)
    if app.language.name == "go":  # which drops its buffer with an error, and begins again
        assert first.answer.status == 500
        assert app.reports(event_id) == []
        assert second.answer.op_names() == ["StepRun", "StepRun"]
        assert last.answer.status == 200
    else:
        assert first.answer.op_names() == ["StepError"]
        assert second.answer.op_names() == ["StepRun"]
        assert [report.steps for report in app.reports(event_id)] == [["a"]]
        assert last.answer.op_names() == ["RunComplete"]
    assert [call.context["attempt"] for call in (first, second, last)] == [0, 1, 0]


def test_asleep(app: RunningApp) -> None:
    event_id = app.send("buffered-sleeps")

    assert app.api.completed(event_id) == 6

    first, *_ = app.calls(event_id)
    if app.language.name == "go":
        assert first.answer.op_names() == ["StepRun", "StepRun", "Sleep"]
    else:
        assert first.answer.op_names() == ["Sleep"]
        assert [report.steps for report in app.reports(event_id)] == [["a", "b"]]
