"""HTTP 44: how long the server waits between attempts, without settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.api import wait_for
from tests.compat.running_app import Options
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h44",
    behaviour="without a setting, the first retry comes after 15 to 45 s",
    lasts=True,
)


def test_backoff(start_app: Callable[[Options], RunningApp]) -> None:
    app = start_app(Options(retry_interval_s=0))
    event_id = app.send("fails")

    wait_for(lambda: len(app.calls(event_id)) > 1 or None, "a second attempt", timeout_s=60)

    first, second, *_ = app.calls(event_id)
    assert second.at_s - first.answer.at_s > 14.9  # the upper end is a busy machine's to miss
