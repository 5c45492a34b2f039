"""Steps that wait for a signal: who gets it, and what happens when two want it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.effects import SignalTaken
from stepwell.engine.inputs import CallReported, CancelRequested
from stepwell.engine.rows import HistoryKind, PutHistory, RunStatus, StepKind
from tests.unit.engine.scenario import Scenario, op, ops, ran, returned, step_id

HOUR_MS = 3_600_000


@pytest.fixture
def s() -> Scenario:
    scenario = Scenario()
    scenario.sync({"fn": "ship"})
    scenario.attach()
    return scenario


def wait(step: str = "told", signal: str = "go", timeout: str = "1h", **opts: Any) -> Any:
    return op(
        "WaitForSignal", step, name=signal, opts={"signal": signal, "timeout": timeout, **opts}
    )


def start(s: Scenario, *waits: Any) -> Any:
    """A run begins and waits; gives its id."""
    s.send()
    run_id = s.call.run_id
    s.reply(ops(*(waits or (wait(),))))
    return run_id


def test_the_signal_is_the_steps_value(s: Scenario) -> None:
    run_id = start(s)
    assert s.signal("go", {"n": 1}) == run_id
    row = s.step_row("told")
    assert row.kind is StepKind.SIGNAL
    assert json.loads(row.data) == {"data": {"n": 1}, "signal": "go"}
    assert s.call.stack == (step_id("told"),)
    assert s.signal("go") is None


def test_the_history_tells_what_is_waited_for(s: Scenario) -> None:
    start(s)
    (row,) = s.rows(PutHistory)
    assert row.kind is HistoryKind.SIGNAL_WAIT_STARTED
    assert json.loads(row.payload or b"")["signal"] == "go"


def test_nobody_waits(s: Scenario) -> None:
    start(s)
    assert s.signal("stop") is None
    assert not s.has_step("told")


def test_a_signal_that_is_late_finds_nobody(s: Scenario) -> None:
    start(s)
    s.pass_ms(HOUR_MS)
    assert (s.step_row("told").kind, s.step_row("told").data) == (
        StepKind.SIGNAL_TIMEOUT,
        b"null",
    )
    assert s.signal() is None


def test_a_run_that_is_not_in_memory_gets_its_signal(s: Scenario) -> None:
    run_id = start(s)
    s.restart()
    assert run_id not in s.partition.runs
    s.attach()
    assert s.signal() == run_id


def test_a_second_run_that_waits_fails(s: Scenario) -> None:
    first = start(s)
    second = start(s)
    (end,) = s.ends
    assert (end.run_id, end.status) == (second, RunStatus.FAILED)
    assert json.loads(end.output or b"") == {
        "name": "Error",
        "message": "Signal conflict; signal wait already exists for another run: 'go'",
        "error": "Error: Signal conflict; signal wait already exists for another run: 'go'",
    }
    assert s.signal() == first


@pytest.mark.parametrize("word", ["replace", "Replace"])
def test_a_run_may_take_the_place_of_another_one(s: Scenario, word: str) -> None:
    first = start(s)
    s.pass_ms(1_000)
    second = start(s, wait(conflict=word))
    assert s.signal() == second
    assert s.signal() is None
    s.pass_ms(HOUR_MS - 1_000)
    assert s.step_row("told", first).kind is StepKind.SIGNAL_TIMEOUT
    assert s.step_row("told", second).kind is StepKind.SIGNAL


def test_the_place_is_free_when_the_run_is_over(s: Scenario) -> None:
    first = start(s)
    assert s.cancel(first)
    second = start(s)
    assert s.signal() == second


def test_two_steps_of_one_run_cannot_wait_for_one_signal(s: Scenario) -> None:
    start(s, wait("a"), wait("b"))
    assert s.ends[-1].status is RunStatus.FAILED
    assert s.signal() is None


def test_one_run_waits_for_two_signals(s: Scenario) -> None:
    run_id = start(s, wait("a", "one"), wait("b", "two"))
    assert s.signal("two") == s.signal("one") == run_id
    assert s.call.stack == (step_id("b"), step_id("a"))


def test_a_report_that_comes_again_is_no_conflict(s: Scenario) -> None:
    start(s, wait(), op("StepPlanned", "a"))
    s.reply(ops(op("StepRun", "a"), wait()), s.call_for("a"))
    assert not s.ends


def report(s: Scenario, call: Any, *waits: Any) -> CallReported:
    return CallReported(ticket=s.ticket(), request_id=call.request_id, outcome=ops(*waits))


def taken(s: Scenario) -> list[Any]:
    return [each.run_id for each in s.replies(SignalTaken)]


def test_two_signals_in_one_turn(s: Scenario) -> None:
    run_id = start(s)
    s.step(s.signal_input(data=1), s.signal_input(data=2))
    assert taken(s) == [run_id, None]
    assert json.loads(s.step_row("told").data)["data"] == 1


def test_a_wait_and_its_signal_in_one_turn(s: Scenario) -> None:
    s.send()
    call = s.call
    s.step(s.signal_input(data=1), report(s, call, wait()), s.signal_input(data=2))
    assert taken(s) == [None, call.run_id]
    assert json.loads(s.step_row("told").data)["data"] == 2


def test_two_waits_in_one_turn(s: Scenario) -> None:
    s.send_many(*[{"name": "order/paid", "data": {}}] * 2)
    one, two = s.calls[-2:]
    s.step(report(s, one, wait()), report(s, two, wait()))
    assert [end.run_id for end in s.ends] == [two.run_id]
    assert s.signal() == one.run_id


def test_a_place_is_taken_twice_in_one_turn(s: Scenario) -> None:
    first = start(s)
    s.send_many(*[{"name": "order/paid", "data": {}}] * 2)
    one, two = s.calls[-2:]
    replace = wait(conflict="replace")
    s.step(report(s, one, replace), report(s, two, replace), *[s.signal_input()] * 2)
    # The store was asked before the turn: it still named the first one.
    assert taken(s) == [two.run_id, None]
    assert not s.ends
    assert s.partition.runs.keys().isdisjoint({first})


def test_who_waited_is_cancelled_before_the_signal_in_one_turn(s: Scenario) -> None:
    s.send()
    call = s.call
    s.step(
        report(s, call, wait()),
        CancelRequested(ticket=s.ticket(), run_id=call.run_id),
        s.signal_input(),
    )
    assert taken(s) == [None]
    s.send()
    s.reply(ops(wait()))
    assert s.signal() == s.call.run_id


def test_a_place_that_became_free_in_this_turn_is_no_conflict(s: Scenario) -> None:
    start(s)
    s.send()
    call = s.call
    s.step(s.signal_input(), report(s, call, wait()))
    assert not s.ends
    assert s.signal() == call.run_id


def test_without_a_timeout_a_signal_is_waited_for_a_year(s: Scenario) -> None:
    start(s, op("WaitForSignal", "told", name="go", opts={"signal": "go"}))
    s.pass_ms(365 * 86_400_000 - 1)
    assert not s.has_step("told")
    s.pass_ms(1)
    assert s.has_step("told")


@pytest.mark.parametrize(
    ("opts", "name"),
    [
        ({}, "InvalidOptions"),
        ({"signal": 7}, "InvalidOptions"),
        ({"signal": "go", "timeout": "soon"}, "InngestErrInvalidTimeout"),
    ],
)
def test_a_wait_that_means_nothing_fails_the_run(s: Scenario, opts: Any, name: str) -> None:
    s.send()
    s.reply(ops({"op": "WaitForSignal", "id": step_id("told"), "opts": opts}))
    (end,) = s.ends
    assert json.loads(end.output or b"")["name"] == name


def test_a_signal_in_a_race_with_a_step(s: Scenario) -> None:
    start(s, wait(), op("StepPlanned", "a"))
    s.reply(ran("a"), s.call_for("a"))
    s.signal()
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED
