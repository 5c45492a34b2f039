"""`DiscoveryRequest`, `None` and empty responses: the function is called again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from stepwell.engine.report import FRUITLESS_MAX
from stepwell.engine.rows import RunStatus
from tests.unit.engine.scenario import Scenario, op, ops, ran

if TYPE_CHECKING:
    from stepwell.wire.outcomes import Outcome

NOTHING = {
    "no ops": ops(),
    "None": ops({"op": "None"}),
    "DiscoveryRequest": ops({"op": "DiscoveryRequest", "id": "x"}),
    "a step that is done": ops(op("StepRun", "done")),
    "a request and nothing": ops({"op": "DiscoveryRequest", "id": "x"}, {"op": "None"}),
}


def a_call() -> Scenario:
    s = Scenario()
    s.sync({})
    s.attach()
    s.send()
    s.reply(ran("done"))
    return s


@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_the_function_is_called_again_once(nothing: Outcome) -> None:
    s = a_call()
    before = s.call
    s.reply(nothing)
    assert len(s.calls) == 3
    assert (s.call.stack, s.call.current, s.call.attempt) == (before.stack, before.current, 0)


@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_a_function_that_gets_nowhere_fails(nothing: Outcome) -> None:
    s = a_call()
    for _ in range(FRUITLESS_MAX):
        s.reply(nothing)
    assert not s.ends
    s.reply(nothing)
    (end,) = s.ends
    assert end.status is RunStatus.FAILED
    assert end.output is not None
    assert msgspec.json.decode(end.output)["name"] == "InngestErrNoProgress"


def test_a_step_begins_the_count_anew() -> None:
    s = a_call()
    for name in "abc":
        for _ in range(FRUITLESS_MAX):
            s.reply(ops())
        s.reply(ran(name))
    assert not s.ends


def test_plans_that_are_never_carried_out_get_nowhere_either() -> None:
    s = a_call()
    while not s.ends:
        assert len(s.calls) < 3 * FRUITLESS_MAX
        s.reply(ops(op("StepPlanned", "a")) if s.call.step_id == "step" else ops())


def test_failing_now_and_then_does_not_hide_that_nothing_is_finished() -> None:
    s = a_call()
    while not s.ends:
        assert len(s.calls) < 5 * FRUITLESS_MAX
        if s.call.step_id != "step":
            s.reply(ops())
        elif s.call.attempt == 0:
            s.reply(ops(op("StepError", "b", error={})))
            s.pass_ms(1_000)
        else:
            s.reply(ops(op("StepPlanned", "a")))


def test_a_request_beside_planned_steps_is_granted() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a"), {"op": "DiscoveryRequest", "id": "x"}))
    assert sorted(call.step_id == "step" for call in s.calls[2:]) == [False, True]
