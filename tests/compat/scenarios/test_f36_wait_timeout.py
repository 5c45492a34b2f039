"""Flow 36: a wait that nothing ends, and one that an event ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f36",
    behaviour="a wait gives null at its timeout, else the event",
)


def test_wait_timeout(app: RunningApp) -> None:
    timed_out = app.send("wait", {"event": "f36/never", "ms": 1_000})
    met = app.send("wait", {"event": "f36/go", "ms": 20_000})
    app.waiting(met)

    app.send("f36/go", {"n": 36})

    assert app.api.completed(met) == {"event": {"name": "f36/go", "data": {"n": 36}}}
    assert app.api.completed(timed_out) == {"event": None}
