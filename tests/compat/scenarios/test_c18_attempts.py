"""Checkpointing 18: a call that is an attempt of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c18",
    behaviour="a call with attempt 1 ends after its first step, which is not checkpointed",
    cannot={
        "python": "it does not checkpoint",
        "stepwell": "its own tests show it",
        "typescript3": "it checkpoints in every attempt",
        "go": "it checkpoints in every attempt",
    },
)


def test_attempts(app: RunningApp, tmp_path: Path) -> None:
    event_id = app.send("eager-attempts", {"ledger": str(tmp_path / "ledger")})

    assert app.api.completed(event_id) == 3

    _, second, third = app.calls(event_id)
    assert (second.context["attempt"], third.context["attempt"]) == (1, 0)
    assert second.answer.op_names() == ["StepRun"]
    assert third.answer.op_names() == ["RunComplete"]
    assert [report.steps for report in app.reports(event_id)] == [["b"]]
