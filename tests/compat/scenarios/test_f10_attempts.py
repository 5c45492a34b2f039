"""Flow 10: how often a function that always fails is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(number="f10", behaviour="five attempts by default, one with retries 0, at most 21")


def test_attempts(app: RunningApp) -> None:
    expected = {"fails": 5, "fails-0": 1, "fails-50": 21}
    for refused in app.language.leaves_out:  # by the SDK, where the function is written
        del expected[refused]
    events = {name: app.send(name) for name in expected}

    for event_id in events.values():
        assert "no stock" in app.api.failed(event_id)["message"]

    counts = {name: len(app.calls(event_id)) for name, event_id in events.items()}
    assert counts == expected
