"""What follows from the end of a run: its events, and whom they start."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.engine.inputs import CallReported
from stepwell.engine.rows import PutEvent, SetEventRuns
from tests.unit.engine.scenario import Scenario, raised, returned

FINISHED = "inngest/function.finished"


def scenario(expression: str | None, *, event: str = FINISHED, **options: Any) -> Scenario:
    """A function, and one that its end may start."""
    condition = {} if expression is None else {"expression": expression}
    s = Scenario()
    s.sync(
        {"fn": "ship", "retries": 0},
        {"fn": "tell", "triggers": [{"event": event, **condition}], **options},
    )
    s.attach()
    return s


def told(s: Scenario) -> bool:
    return s.call.function_no == 2


@pytest.mark.parametrize(
    ("expression", "starts"),
    [
        (None, True),
        ("event.data.function_id == 'shop-ship'", True),
        ("event.data.function_id == 'shop-bill'", False),
        ("event.data.result.total > 10", True),
        ("event.data.result.total > 11", False),
        ("event.data.event.data.id == 7 && event.data.function_id == 'shop-ship'", True),
        ("event.data.event.name == 'order/paid'", True),
        ("event.name == 'inngest/function.finished'", True),
        ("has(event.data.error)", False),
    ],
)
def test_conditions_on_the_end_of_a_run(expression: str | None, starts: bool) -> None:
    s = scenario(expression)
    s.send(data={"id": 7})
    s.reply(returned({"total": 11}))
    assert told(s) is starts


def test_an_event_that_is_looked_at_later_tells_what_it_started() -> None:
    s = scenario("event.data.result == 1")
    s.send()
    s.reply(returned(1))
    (late,) = s.rows(SetEventRuns)
    event = next(row for row in s.rows(PutEvent) if row.name == FINISHED)
    assert (late.event_id, late.runs) == (event.event_id, (s.call.run_id,))
    assert s.call.event_id == event.event_id


def test_the_end_of_what_it_started_starts_nothing() -> None:
    s = scenario("event.data.result == 1")
    s.send()
    s.reply(returned(1))
    s.reply(returned(1))
    assert len(s.calls) == 2
    assert len([row for row in s.rows(PutEvent) if row.name == FINISHED]) == 1


def test_a_condition_on_an_error() -> None:
    s = scenario("event.data.error.message == 'no'", event="inngest/function.failed")
    s.send()
    s.reply(raised("no"))
    assert told(s)


def test_a_restart_before_it_is_looked_at() -> None:
    s = scenario("event.data.result == 1")
    s.send()
    s._turn([CallReported(ticket=0, request_id=s.call.request_id, outcome=returned(1))])
    assert not told(s)
    s.restart()
    s.attach()
    assert told(s)
    s.restart()
    s.attach()
    assert len([call for call in s.calls if call.generation == 1]) == 2


def test_what_it_starts_may_be_cancelled_by_values_of_the_run() -> None:
    condition = "async.data.total == event.data.result.total"
    s = scenario(None, cancel=[{"event": "order/void", "if": condition}])
    s.send()
    s.reply(returned({"total": 11}))
    assert told(s)
    s.send("order/void", {"total": 10})
    assert len(s.ends) == 1
    s.send("order/void", {"total": 11})
    assert len(s.ends) == 2
