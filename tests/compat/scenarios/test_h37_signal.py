"""HTTP 37: two runs that wait for one signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h37",
    behaviour="a second wait for a signal fails, or takes over with replace",
    cannot={"python": "it has no wait_for_signal"},
)


def test_signal(app: RunningApp) -> None:
    first = app.send("signal", {"signal": "h37", "ms": 30_000})
    app.waiting(first)

    second = app.send("signal", {"signal": "h37", "ms": 30_000})
    assert "ignal conflict" in str(app.api.failed(second))

    third = app.send("signal", {"signal": "h37", "ms": 30_000, "conflict": "replace"})
    app.waiting(third)
    assert app.signal("h37", {"n": 1}) == app.api.run_id(third)
    assert app.api.completed(third) == {"signal": "h37", "data": {"n": 1}}
    assert app.api.status(first) == "Running"
