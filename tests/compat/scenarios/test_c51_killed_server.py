"""Checkpointing 51: the server is killed amid a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c51",
    behaviour="the server is killed amid a checkpointed run: stored steps are not done again",
    cannot={"python": "it does not checkpoint"},
)


def test_killed_server(own_app: RunningApp, tmp_path: Path) -> None:
    app, ledger, gate = own_app, tmp_path / "ledger", tmp_path / "gate"
    event_id = app.send("eager-ledger", {"ledger": str(ledger), "gate": str(gate)})
    wait_for(lambda: (ledger.exists() and "s2" in ledger.read_text()) or None, "the third step")

    app.server.kill()
    app.server.start()
    if (app.language.name, app.transport) == ("go", "connect"):
        app.restart_app()  # its worker ends for good when the connection is lost without a word
    gate.touch()

    assert app.api.completed(event_id) == "done"
    bodies = Counter(ledger.read_text().split())
    assert bodies["s0"] == bodies["s1"] == 1
    assert bodies["s2"] in (1, 2), "it was not stored: it may be done again"
    # Over HTTP the call is made again at once, and Go's first one goes on beside it unfenced.
    most = 2 if (app.language.name, app.transport) == ("go", "serve") else 1
    assert all(1 <= bodies[name] <= most for name in ("s3", "s4"))
    names = app.api.step_names(app.api.run_id(event_id))
    assert names == ["s0", "s1", "s2", "s3", "s4"]
