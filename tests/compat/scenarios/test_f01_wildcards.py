"""Flow 1: triggers that end in a wildcard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f01",
    behaviour="`a/*` and `a/b.*` match what follows, not the name alone",
)


def test_wildcards(app: RunningApp) -> None:
    matching = {name: app.send(name) for name in ("wild/b", "wild/b/c", "wilddot/b.c")}
    others = [app.send(name) for name in ("wild", "wilddot/bx")]

    for name, event_id in matching.items():
        assert app.api.completed(event_id) == name
    app.settled()
    assert [app.api.runs_of(event_id) for event_id in others] == [[], []]
