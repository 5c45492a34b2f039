"""Checkpointing 17: a call that was given out again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c17",
    behaviour="a checkpoint of a call that was given out again is refused and not stored",
    cannot={
        "python": "it does not checkpoint",
        "stepwell": "its own tests show it",
    },
    over="serve",
)


REFUSED = {"typescript4": 1, "typescript3": 5, "go": 3}
"""How often an SDK asks: TypeScript stops then, at once or after five attempts; Go goes on."""


def test_stale(own_app: RunningApp, tmp_path: Path) -> None:
    app, ledger, gate = own_app, tmp_path / "ledger", tmp_path / "gate"
    event_id = app.send("eager-ledger", {"ledger": str(ledger), "gate": str(gate)})
    wait_for(lambda: "s2" in noted(ledger) or None, "the third step to begin")

    app.server.kill()
    app.server.start()
    wait_for(lambda: noted(ledger).count("s2") == 2 or None, "the call to be made again")
    gate.touch()

    assert app.api.completed(event_id) == "done"
    first, again, *_ = app.calls(event_id)
    assert again.body["steps"].keys() == {step_hash("s0"), step_hash("s1")}
    reply = wait_for(lambda: first.reply, "the first call to end")
    reports = [
        report for report in app.reports(event_id) if report.body["qi_id"] == first.context["qi_id"]
    ]
    assert [(report.steps, report.status) for report in reports[:2]] == [
        (["s0"], 200),
        (["s1"], 200),
    ]
    refused = [report.status for report in reports[2:]]
    assert len(refused) == REFUSED[app.language.name]
    assert (refused[0], set(refused) <= {409, 400}) == (409, True), "400 when the run is over"
    if app.language.name == "typescript4":
        assert (reply.status, reply.no_retry) == (400, True)
    bodies = Counter(noted(ledger))
    most = 2 if app.language.name == "go" else 1
    assert bodies["s2"] == 2
    assert all(1 <= bodies[name] <= most for name in ("s3", "s4"))
    assert app.api.step_names(app.api.run_id(event_id)) == ["s0", "s1", "s2", "s3", "s4"]


def noted(ledger: Path) -> list[str]:
    """The bodies that have begun, in order."""
    return ledger.read_text().split() if ledger.exists() else []
