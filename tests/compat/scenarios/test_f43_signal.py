"""Flow 43: signals of one name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f43",
    behaviour="a second wait for a signal fails; with replace it gets the signal",
    cannot={"python": "it has no wait_for_signal"},
)


def test_signal(app: RunningApp) -> None:
    first = app.send("signal", {"signal": "f43", "ms": 30_000})
    app.waiting(first)
    second = app.send("signal", {"signal": "f43", "ms": 30_000})

    message = "Signal conflict; signal wait already exists for another run"
    assert message in str(app.api.failed(second))
    assert app.signal("f43", "first") == app.api.run_id(first)
    assert app.api.completed(first) == {"signal": "f43", "data": "first"}
    assert app.signal("f43", "late") is None
