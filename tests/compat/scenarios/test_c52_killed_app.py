"""Checkpointing 52: the app is killed amid a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c52",
    behaviour="the app is killed amid a checkpointed run: stored steps are not done again",
    cannot={"python": "it does not checkpoint"},
)


def test_killed_app(own_app: RunningApp, tmp_path: Path) -> None:
    app, ledger, gate = own_app, tmp_path / "ledger", tmp_path / "gate"
    event_id = app.send("eager-ledger", {"ledger": str(ledger), "gate": str(gate)})
    wait_for(lambda: (ledger.exists() and "s2" in ledger.read_text()) or None, "the third step")

    app.restart_app()
    gate.touch()

    assert app.api.completed(event_id) == "done"
    bodies = Counter(ledger.read_text().split())
    assert bodies == {"s0": 1, "s1": 1, "s2": 2, "s3": 1, "s4": 1}
    names = app.api.step_names(app.api.run_id(event_id))
    assert names == ["s0", "s1", "s2", "s3", "s4"]
