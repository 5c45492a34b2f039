"""`StepPlanned`: steps that run beside one another."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.engine.rows import HistoryKind, PutHistory, PutStep, RunStatus, StepKind, UpdateRun
from tests.unit.engine.scenario import Scenario, op, ops, ran, returned, step_id

RACE = {"parallelMode": "race"}


def a_call(**config: Any) -> Scenario:
    s = Scenario(**config)
    s.sync({"fn": "ship", "retries": 0})
    s.attach()
    s.send()
    return s


def planned(*names: str, opts: Any = None, version: int = 2) -> Any:
    return ops(*[op("StepPlanned", name, opts=opts) for name in names], version=version)


def discoveries(s: Scenario) -> list[bool]:
    """`plan_only` of each call that was aimed at no step."""
    return [call.plan_only for call in s.calls if call.step_id == "step"]


@pytest.mark.parametrize("width", [2, 5, 50])
def test_n_parallel_steps_cost_one_and_n_and_one_call(width: int) -> None:
    s = a_call()
    names = [f"s{number}" for number in range(width)]
    s.reply(planned(*names))
    assert [call.step_id for call in s.calls[1:]] == [step_id(name) for name in names]
    assert all(call.plan_only for call in s.calls[1:])
    for name in names:
        s.reply(ran(name), s.call_for(name))
    assert len(s.calls) == 1 + width + 1
    assert discoveries(s) == [False, False]
    assert s.call.stack == tuple(step_id(name) for name in names)
    s.reply(returned())
    assert s.rows(UpdateRun)[-1].status is RunStatus.COMPLETED


def test_steps_are_remembered_in_the_order_in_which_they_finish() -> None:
    s = a_call()
    s.reply(planned("a", "b", "c"))
    for name in "cab":
        s.reply(ran(name), s.call_for(name))
    assert s.call.stack == tuple(step_id(name) for name in "cab")
    assert s.call.current == 3


def test_a_planned_step_is_history() -> None:
    s = a_call()
    s.reply(planned("a", "b"))
    rows = s.rows(PutHistory)
    assert [row.kind for row in rows] == [HistoryKind.STEP_PLANNED] * 2
    assert [(row.seq, row.name) for row in rows] == [(0, "a"), (1, "b")]


def test_a_single_planned_step_does_not_turn_planning_on() -> None:
    s = a_call()
    s.reply(planned("a"))
    assert not s.call.plan_only
    s.reply(ran("a"))
    assert discoveries(s) == [False, False]


def test_a_step_that_is_planned_twice_runs_once() -> None:
    s = a_call()
    s.reply(planned("a", "b", "a"))
    assert len(s.calls) == 3


def test_a_step_that_is_done_is_not_planned() -> None:
    s = a_call()
    s.reply(ran("a"))
    s.reply(planned("a", "b"))
    s.reply(ran("b"), s.call_for("b"))
    assert s.call.step_id == "step"
    assert len(s.calls) == 4


def test_a_race_goes_on_after_each_step() -> None:
    s = a_call()
    s.reply(planned("a", "b", opts=RACE))
    s.reply(ran("a"), s.call_for("a"))
    assert (s.call.step_id, s.call.plan_only) == ("step", True)
    s.reply(planned("a2", opts=RACE))
    s.reply(ran("a2"))
    assert s.call.step_id == "step"
    s.reply(ops())
    s.reply(ran("b"), s.call_for("b"))
    assert (s.call.step_id, s.call.plan_only) == ("step", False)


@pytest.mark.parametrize(
    ("opts", "race"),
    [
        ({"parallelMode": "race"}, True),
        ({"parallelMode": "Race"}, True),
        ({"parallelMode": "wait"}, False),
        ({"parallelMode": "wait", "input": ["race"]}, False),
        ({"parallelMode": 7}, False),
        ({"input": ["parallelMode", "race"]}, False),
        (["parallelMode", "race"], False),
        (None, False),
    ],
)
def test_only_the_option_makes_a_race(opts: Any, race: bool) -> None:
    s = a_call()
    s.reply(planned("a", "b", opts=opts))
    s.reply(ran("a"), s.call_for("a"))
    assert (len(s.calls) == 4) is race


def test_steps_of_a_race_that_finish_while_a_call_is_out_take_one_more_call() -> None:
    s = a_call()
    s.reply(planned("a", "b", "c", "d", opts=RACE))
    s.reply(ran("a"), s.call_for("a"))
    discovery = s.call
    s.reply(ran("b"), s.call_for("b"))
    s.reply(ran("c"), s.call_for("c"))
    assert s.call is discovery
    s.reply(ops(), discovery)
    assert s.call is not discovery
    assert s.call.stack == tuple(step_id(name) for name in "abc")
    assert s.call.current == 3
    calls = len(s.calls)
    s.reply(ops())
    assert len(s.calls) == calls, "nothing was finished since that one was sent"


def test_a_discovery_that_is_sent_anew_needs_no_other_for_what_it_now_carries() -> None:
    s = a_call()
    s.reply(planned("a", "b", "c", opts=RACE))
    s.partition.ack(s.call_for("c").request_id)
    s.reply(ran("a"), s.call_for("a"))
    s.reply(ran("b"), s.call_for("b"))
    s.attach("c2")
    s.gone("c1")  # the discovery was not acknowledged, so it goes to the other
    assert s.call.stack == tuple(step_id(name) for name in "ab")
    calls = len(s.calls)
    s.reply(ops())
    assert len(s.calls) == calls


def test_version_1_calls_after_each_step_and_keeps_planning() -> None:
    s = a_call()
    s.reply(planned("a", "b", version=1))
    s.reply(ran("a"), s.call_for("a"))
    assert (s.call.step_id, s.call.plan_only, s.call.version) == ("step", True, 1)
    s.reply(planned("b", version=1))
    s.reply(ran("b"), s.call_for("b"))
    assert (s.call.step_id, s.call.plan_only) == ("step", True)


def test_a_sibling_that_fails_for_good_does_not_hold_up_the_others() -> None:
    s = a_call()
    s.reply(planned("a", "b"))
    s.reply(ops(op("StepError", "a", error={"name": "E"})), s.call_for("a"))
    assert [row.kind for row in s.rows(PutStep)] == [StepKind.FAILED]
    s.reply(ran("b"), s.call_for("b"))
    assert s.call.stack == (step_id("a"), step_id("b"))


def test_a_second_wave_follows_the_first() -> None:
    s = a_call()
    s.reply(planned("a", "b"))
    s.reply(ran("a"), s.call_for("a"))
    s.reply(ran("b"), s.call_for("b"))
    s.reply(planned("a2", "b2"))
    s.reply(ran("a2"), s.call_for("a2"))
    s.reply(ran("b2"), s.call_for("b2"))
    assert discoveries(s) == [False, False, False]
    s.reply(returned())
    assert s.rows(UpdateRun)[-1].status is RunStatus.COMPLETED
    assert len(s.calls) == 7


def test_steps_that_ran_beside_planned_ones_are_not_waited_for() -> None:
    s = a_call()
    s.reply(ops(op("StepRun", "a"), op("StepPlanned", "b"), op("StepPlanned", "c")))
    s.reply(ran("b"), s.call_for("b"))
    s.reply(ran("c"), s.call_for("c"))
    assert discoveries(s) == [False, False]


@pytest.mark.parametrize("op_kind", ["None", "DiscoveryRequest"])
def test_ops_about_no_step_are_not_waited_for(op_kind: str) -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a"), {"op": op_kind, "id": "x"}))
    s.reply(ran("a"), s.call_for("a"))
    while s.call.step_id != "step" or s.call.stack == ():
        s.reply(ops())
    assert not s.call.plan_only
    s.reply(ops(op("Sleep", "nap", name="1s")))
    s.pass_ms(1_000)
    assert s.call.stack == (step_id("a"), step_id("nap"))


def test_a_call_that_brings_no_outcome_of_its_step_has_the_function_tell_again() -> None:
    s = a_call()
    s.reply(planned("a", "b"))
    s.reply(ops(), s.call_for("a"))
    assert (s.call.step_id, s.call.plan_only) == ("step", True)
    s.reply(planned("a", "b"))
    assert s.call.step_id == step_id("a")
    s.reply(ran("a"))
    s.reply(ran("b"), s.call_for("b"))
    assert s.call.stack == (step_id("a"), step_id("b"))


def test_a_step_done_by_another_call_withdraws_the_one_that_is_aimed_at_it() -> None:
    s = a_call()
    s.reply(planned("a", "b", opts=RACE))
    aimed = s.call_for("b")
    s.reply(ran("a"), s.call_for("a"))
    s.reply(ran("b", "by the function"))
    assert not s.reply(ran("b", "late"), aimed)
    assert s.rows(PutStep)[-1].data == b'"by the function"'


def test_a_step_that_is_called_like_an_untargeted_call_ends_in_an_error() -> None:
    """Its calls could not be told from others: it is bounded like all that brings nothing."""
    s = a_call()
    for _ in range(101):
        s.reply(ops({"op": "StepPlanned", "id": "step"}))
    assert s.rows(UpdateRun)[-1].status is RunStatus.FAILED
