"""HTTP 43: more operations in one answer than a run may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h43",
    behaviour="1001 operations in one answer fail the run",
    cannot={"stepwell": "it refuses such a group where it is made"},
)


def test_many_operations(app: RunningApp) -> None:
    event_id = app.send("too-many", {"count": 1001})

    error = app.api.failed(event_id)

    assert "InngestErrFunctionOverflowed" in str(error)
    (call,) = app.calls(event_id)
    assert len(call.answer.ops) == 1001
