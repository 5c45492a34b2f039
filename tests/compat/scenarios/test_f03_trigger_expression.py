"""Flow 3: a trigger's expression, with its field and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f03",
    behaviour="a comparison in a trigger; a missing field counts as smaller",
)


def test_trigger_expression(app: RunningApp) -> None:
    six, five, none = (app.send("expr", data) for data in ({"n": 6}, {"n": 5}, {}))
    app.settled()

    started = [app.functions_of(event_id) for event_id in (six, five, none)]
    assert started == [["expr-gt"], [], ["expr-lt"]]
