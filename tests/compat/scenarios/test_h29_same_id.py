"""HTTP 29: three steps of one name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(number="h29", behaviour="three steps named `a` are `a`, `a:1` and `a:2`")


def test_same_id(app: RunningApp) -> None:
    event_id = app.send("same-id")

    assert app.api.completed(event_id) == [0, 1, 2]

    steps = app.api.steps(app.api.run_id(event_id))
    assert [(step.name, step.output) for step in steps] == [
        ("a", {"data": 0}),
        ("a", {"data": 1}),
        ("a", {"data": 2}),
    ]
    reported = [op["id"] for call in app.calls(event_id) for op in call.answer.ops]
    hashes = [step_hash(name) for name in ("a", "a:1", "a:2")]
    assert [each for each in reported if each in hashes] == hashes
