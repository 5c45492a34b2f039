"""Checkpointing 15: parallel steps amid others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c15",
    behaviour="parallel steps are planned; after them steps are checkpointed again",
    cannot={
        "python": "it does not checkpoint",
        "stepwell": "its own tests show it",
    },
)


def test_parallel(app: RunningApp, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    event_id = app.send("eager-parallel", {"ledger": str(ledger)})

    assert app.api.completed(event_id) == "done"

    first, *branches, last = app.calls(event_id)
    assert first.answer.op_names() == ["StepPlanned", "StepPlanned"]
    assert {call.step for call in branches} == {step_hash("left"), step_hash("right")}
    assert [call.context["disable_immediate_execution"] for call in branches] == [True, True]
    assert last.context["disable_immediate_execution"] is False
    assert [report.steps for report in app.reports(event_id)] == [["before"], ["after"]]
    assert sorted(ledger.read_text().split()) == ["after", "before", "left", "right"]
