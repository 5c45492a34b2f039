"""HTTP 27: more state than fits in a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h27",
    behaviour="state above 4 MiB is fetched: use_api",
    cannot={"go": "it does not fetch state"},
)


def test_large_state(app: RunningApp) -> None:
    event_id = app.send("large")

    assert app.api.completed(event_id) == 3 * 1_600_000

    *_, last = app.calls(event_id)
    assert last.body["use_api"] is True
    assert last.body["steps"] == {}
