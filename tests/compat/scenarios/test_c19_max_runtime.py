"""Checkpointing 19: a limit of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c19",
    behaviour="after max_runtime the next step is left to another call",
    cannot={
        "python": "it does not checkpoint",
        "stepwell": "its own tests show it",
    },
)


def test_between_steps(app: RunningApp, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    event_id = app.send("short", {"ledger": str(ledger), "steps": True})

    assert app.api.completed(event_id) == "done"

    first, *middle, last = app.calls(event_id)
    lines = ledger.read_text().split()
    assert (lines.count("a"), lines.count("b")) == (1, 1)
    if app.language.name == "go":  # which looks at the time after each step
        assert [report.steps for report in app.reports(event_id)] == [["a"]]
        assert first.answer.op_names() == ["StepRun"]
        assert last.answer.status == 200
        return
    (targeted,) = middle
    assert first.answer.op_names() == ["StepPlanned"]
    assert first.context["disable_immediate_execution"] is False
    assert targeted.answer.op_names() == ["StepRun"]
    assert [report.steps for report in app.reports(event_id)] == [["a"]]


def test_without_steps(app: RunningApp, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    event_id = app.send("short", {"ledger": str(ledger), "steps": False})

    assert app.api.completed(event_id) == "done"

    assert len(app.calls(event_id)) == 1
    assert ledger.read_text().split() == ["between"]
    assert app.reports(event_id) == []
