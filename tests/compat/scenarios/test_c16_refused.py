"""Checkpointing 16: checkpoints that come to nothing."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c16",
    behaviour="checkpoints that fail: the steps come with the answer, and none is lost",
    cannot={
        "python": "it does not checkpoint",
        "stepwell": "its own tests show it",
    },
)


WAITS_S = (0.1, 0.2, 0.4, 0.8)
"""What an SDK waits at least before it tries again."""


def test_refused(app: RunningApp) -> None:
    if app.language.name == "go":
        pytest.skip("it tries once: the other test")
    app.api_tap.refuses["a"] = 5
    event_id = app.send("eager")

    assert len(app.api.completed(event_id)) == 3

    first, *_ = app.calls(event_id)
    assert first.answer.op_names() == ["StepRun"]
    reports = app.reports(event_id)
    tries = [report for report in reports if report.status == 500]
    assert [report.steps for report in tries] == [["a"]] * 5
    for wait_s, (one, next_one) in zip(WAITS_S, itertools.pairwise(tries), strict=True):
        assert next_one.sent_s - one.answered_s >= wait_s - 0.01
    assert app.api.step_names(app.api.run_id(event_id)) == ["a", "b", "c"]


def test_refused_with_a_buffer(app: RunningApp) -> None:
    if app.language.name != "typescript4":
        pytest.skip("it does not send its buffer before what ends a call")
    app.api_tap.refuses["refused"] = 5
    event_id = app.send("buffered-sleeps", {"first": "refused"})

    assert app.api.completed(event_id) == 6

    first, *_ = app.calls(event_id)
    assert first.answer.op_names() == ["StepRun", "StepRun"]
    tries = [report.steps for report in app.reports(event_id) if report.status == 500]
    assert tries == [["refused", "b"]] * 5
    names = app.api.step_names(app.api.run_id(event_id))
    assert sorted(names) == ["b", "c", "nap", "refused"]


def test_refused_once_each(app: RunningApp) -> None:
    if app.language.name != "go":
        pytest.skip("it tries five times: the other tests")
    app.api_tap.refuses["a"] = 3
    event_id = app.send("eager")

    assert len(app.api.completed(event_id)) == 3

    tries = [report.steps for report in app.reports(event_id)]
    assert tries == [["a"], ["a", "b"], ["a", "b", "c"]]
    first, last = app.calls(event_id)
    assert first.answer.op_names() == ["StepRun"] * 3
    assert last.answer.status == 200
