"""HTTP 15: the first call of a run, and the version that the answer settles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import UNTARGETED
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(number="h15", behaviour="the first call of a run; the version that a 206 settles")


def test_first_call(app: RunningApp) -> None:
    event_id = app.send("one-step")

    assert app.api.completed(event_id) == {"a": 7, "attempt": 0}

    first, second = app.calls(event_id)
    assert first.context["attempt"] == 0
    assert first.body["steps"] == {}
    assert first.context["stack"] == {"stack": [], "current": 0}
    assert first.step == UNTARGETED
    assert first.context["step_id"] == "step"
    assert first.body["version"] == -1
    assert first.answer.status == 206
    assert second.body["version"] == (first.answer.version or 2)  # Go says none over Connect
