"""Flow 50: more steps than a run may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f50",
    behaviour="the 1001st step of a run fails it",
    lasts=True,
)


def test_many_steps(app: RunningApp) -> None:
    event_id = app.send("many", {"count": 1001})

    assert "InngestErrFunctionOverflowed" in str(app.api.failed(event_id, timeout_s=300))
