"""HTTP 31: parallel branches that go on by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h31",
    behaviour="in race mode a discovery follows each completion",
)


def test_race(app: RunningApp) -> None:
    event_id = app.send("race")

    assert app.api.completed(event_id) == "done"

    second = next(
        call
        for call in app.calls(event_id)
        if call.reply and any(op["id"] == step_hash("a2") for op in call.reply.ops)
    )
    assert step_hash("a1") in second.body["steps"]
    assert step_hash("b") not in second.body["steps"], "the other branch still sleeps"
