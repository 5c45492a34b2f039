"""Flow 8: schedules that there are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compat.running_app import Options
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f08",
    behaviour="an unknown time zone and `@daily` are refused",
)


@pytest.mark.parametrize("kind", ["zone", "daily"])
def test_bad_cron(start_app: Callable[[Options], RunningApp], kind: str) -> None:
    app = start_app(Options(bad=kind))

    assert app.refusal
    assert app.api.runs_of(app.send("echo", {"value": 1})) == []
