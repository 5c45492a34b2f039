"""Steps that a call tells while it goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.checkpointing import SENT_STALE_MS
from stepwell.engine.rows import PutHistory, PutLive, RunStatus, StepKind
from tests.unit.engine.scenario import Scenario, op, ops, raised, ran, returned, step_id


@pytest.fixture
def s() -> Scenario:
    scenario = Scenario()
    scenario.sync({"fn": "ship", "retries": 2})
    scenario.attach()
    return scenario


def done(name: str, value: Any = None) -> dict[str, Any]:
    return op("StepRun", name, data=value)


def test_steps_are_stored_and_the_call_goes_on(s: Scenario) -> None:
    s.send()
    call = s.call
    assert s.checkpoint(done("a", 1), done("b", 2)) is None
    assert [json.loads(s.step_row(name).data) for name in "ab"] == [1, 2]
    assert s.call is call
    assert s.reply(returned("end"))
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_each_kind_of_step(s: Scenario) -> None:
    s.send()
    error = {"name": "Error", "message": "no"}
    assert s.checkpoint(done("a"), op("Step", "b", data=2), op("StepFailed", "c", error=error)) is (
        None
    )
    assert [s.step_row(name).kind for name in "abc"] == [
        StepKind.RUN,
        StepKind.LEGACY,
        StepKind.FAILED,
    ]


def test_a_repeated_one_changes_nothing(s: Scenario) -> None:
    s.send()
    assert s.checkpoint(done("a", 1)) is None
    writes = len(s.writes)
    assert s.checkpoint(done("a", 2)) is None
    assert len(s.writes) == writes
    assert json.loads(s.step_row("a").data) == 1
    assert s.checkpoint(done("a", 3), done("b")) is None
    assert s.has_step("b")


@pytest.mark.parametrize("generation", [None, 0, 1])
def test_a_call_that_is_named_by_its_job(s: Scenario, generation: int | None) -> None:
    s.send()
    assert s.checkpoint(done("a"), fence="job", generation=generation) is None
    assert s.has_step("a")


def test_a_call_that_is_not_named_is_any_that_is_at_work(s: Scenario) -> None:
    s.send()
    assert s.checkpoint(done("a", 1), fence="nothing") is None
    assert s.checkpoint(done("a", 2), fence="nothing", generation=2) == "call_stale"
    assert json.loads(s.step_row("a").data) == 1
    first = s.call
    s.reply(ops(op("Sleep", "nap", name="9h")))
    assert s.checkpoint(done("b"), call=first, fence="nothing") == "call_stale"
    assert not s.has_step("b")


def test_an_earlier_call_of_the_job_is_refused(s: Scenario) -> None:
    s.send()
    first = s.call
    s.detach()
    s.attach("c2")
    assert s.checkpoint(done("a"), call=first) == "call_stale"
    assert s.checkpoint(done("a"), fence="job", generation=1) == "call_stale"
    assert not s.has_step("a")
    assert s.checkpoint(done("a"), fence="job", generation=2) is None


def test_a_job_that_nobody_has_is_refused(s: Scenario) -> None:
    s.send()
    s.detach()
    assert s.checkpoint(done("a")) == "call_stale"
    assert s.checkpoint(done("a"), fence="job") == "call_stale"


def test_a_call_that_is_over_is_refused(s: Scenario) -> None:
    s.send()
    first = s.call
    s.reply(ran("a"))
    assert s.checkpoint(done("b"), call=first) == "call_stale"
    s.reply(returned())
    assert s.checkpoint(done("b"), call=first) == "run_not_found"
    assert not s.has_step("b")


def test_a_call_of_a_run_that_sleeps_is_refused_and_leaves_no_trace(s: Scenario) -> None:
    s.send()
    first = s.call
    s.reply(ops(op("Sleep", "nap", name="9h")))
    assert s.checkpoint(done("b"), call=first) == "call_stale"
    assert first.run_id not in s.partition.runs


@pytest.mark.parametrize(
    "bad",
    [
        op("RunComplete", "end"),
        op("StepError", "x", error={}),
        op("StepPlanned", "x"),
        op("Sleep", "x", name="1s"),
        op("WaitForEvent", "x", name="e"),
        op("Dance", "x"),
    ],
)
def test_it_is_refused_whole_if_it_holds_what_ends_a_call(s: Scenario, bad: Any) -> None:
    s.send()
    assert s.checkpoint(done("a"), bad) == "op_not_allowed"
    assert not s.has_step("a")
    assert s.reply(returned())


def test_the_next_step_has_all_its_attempts(s: Scenario) -> None:
    s.send()
    s.reply(raised())
    s.pass_ms(1_000)
    assert s.call.attempt == 1
    s.checkpoint(done("a"))
    assert s.step_row("a").attempt == 1
    for attempt in range(2):
        s.reply(raised())
        s.pass_ms(1_000)
        assert s.call.attempt == attempt + 1
    s.reply(raised())
    assert s.ends[-1].status is RunStatus.FAILED


def test_the_time_of_a_step_begins_with_the_end_of_the_one_before(s: Scenario) -> None:
    s.send()
    begun_ms = s.now_ms
    s.pass_ms(30)
    s.checkpoint(done("a"))
    s.pass_ms(20)
    s.checkpoint(done("b"))
    a, b = s.step_row("a"), s.step_row("b")
    assert (a.started_at_ms, a.ended_at_ms) == (begun_ms, begun_ms + 30)
    assert (b.started_at_ms, b.ended_at_ms) == (begun_ms + 30, begun_ms + 50)


def test_a_step_that_is_all_the_news_leaves_the_runs_own_row_alone(s: Scenario) -> None:
    s.send()
    assert s.checkpoint(done("a")) is None
    before = len(s.rows(PutLive))
    assert s.checkpoint(done("b")) is None
    assert len(s.rows(PutLive)) == before
    s.pass_ms(SENT_STALE_MS)
    assert s.checkpoint(done("c")) is None
    assert len(s.rows(PutLive)) == before + 1, "the time of a step may be behind by so much only"
    s.restart()
    s.attach("c2")
    assert s.reply(returned("end")), "the call is still out, and brings the end"
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_a_report_of_several_steps_tells_when_each_was(s: Scenario) -> None:
    s.send()
    s.pass_ms(1_000)
    ms = 1_000_000
    times = [{"a": 5_000 * ms, "b": 100 * ms}, {"a": 5_300 * ms, "b": 200 * ms}]
    assert s.checkpoint(*({**done(n), "timing": t} for n, t in zip("ab", times, strict=True))) is (
        None
    )
    a, b = s.step_row("a"), s.step_row("b")
    assert (a.started_at_ms, a.ended_at_ms) == (s.now_ms - 500, s.now_ms - 400)
    assert (b.started_at_ms, b.ended_at_ms) == (s.now_ms - 200, s.now_ms)


def test_what_was_stored_comes_with_the_call_after_a_loss(s: Scenario) -> None:
    s.send()
    s.checkpoint(done("a"), done("b"))
    s.gone()
    s.attach("c2")
    s.pass_ms(s.config.reconnect_grace_ms)
    assert s.call.stack == (step_id("a"), step_id("b"))
    assert s.call.attempt == 0


def test_losses_before_it_do_not_count_any_more(s: Scenario) -> None:
    s.send()
    for number in range(8):
        s.checkpoint(done(f"s{number}"))
        s.gone("c1")
        s.attach("c1")
        s.pass_ms(s.config.reconnect_grace_ms)
    assert (s.call.attempt, s.call.generation) == (0, 9)
    assert s.reply(returned())


def test_it_extends_the_lease(s: Scenario) -> None:
    s.send()
    for number in range(5):
        s.pass_ms(s.config.lease_ms - 1)
        assert s.checkpoint(done(f"s{number}")) is None
    assert s.reply(returned())


def test_parallel_siblings_go_on(s: Scenario) -> None:
    s.send()
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")))
    first = s.call_for("a")
    assert s.checkpoint(done("a"), call=first) is None
    assert s.reply(ran("b"), s.call_for("b"))
    assert s.reply(ops(done("a")), first)
    assert s.call.stack == (step_id("a"), step_id("b"))
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_a_sibling_that_is_aimed_at_the_step_is_withdrawn(s: Scenario) -> None:
    s.send()
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")))
    sibling = s.call_for("b")
    assert s.checkpoint(done("a"), done("b"), call=s.call_for("a")) is None
    assert not s.reply(ran("b"), sibling)
    s.reply(ops(done("a")), s.call_for("a"))
    assert s.call.stack == (step_id("a"), step_id("b"))


@pytest.mark.parametrize("how", ["lost", "raised"])
def test_a_call_whose_step_is_stored_is_not_made_again(s: Scenario, how: str) -> None:
    """The function is called for what is left."""
    s.send()
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")))
    call = s.call_for("a")
    s.checkpoint(done("a"), call=call)
    if how == "raised":
        s.reply(raised(), call)
    else:
        s.gone()
        s.attach()
        s.pass_ms(s.config.reconnect_grace_ms)
    assert s.call_for("a") is call
    assert s.reply(ran("b"), s.call_for("b"))
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_a_wait_for_the_same_step_is_over(s: Scenario) -> None:
    s.send()
    waits = op("WaitForEvent", "w", name="e", opts={"event": "e", "timeout": "1h"})
    s.reply(ops(op("StepPlanned", "a"), waits, op("Sleep", "nap", name="1h")))
    assert s.checkpoint(done("w", 1), done("nap", 2), call=s.call_for("a")) is None
    s.send("e")
    s.pass_ms(60_000)
    assert json.loads(s.step_row("w").data) == 1
    assert not s.partition.watches.has("e")


def test_it_may_defer(s: Scenario) -> None:
    s.send()
    s.checkpoint(op("DeferAdd", "later", opts={"fn_slug": "x", "input": {}}))
    assert len(s.rows(PutHistory)) == 1
    s.checkpoint(op("DeferAbort", "no", opts={"target_hashed_id": step_id("later")}))
    assert len(s.rows(PutHistory)) == 2


def test_a_run_that_grows_too_large_fails() -> None:
    s = Scenario(steps_max=2)
    s.sync({"fn": "ship"})
    s.attach()
    s.send()
    assert s.checkpoint(*[done(name) for name in "abc"]) is None
    (end,) = s.ends
    assert json.loads(end.output or b"")["name"] == "InngestErrFunctionOverflowed"
    assert not s.reply(returned())


def test_what_would_make_a_run_too_large_is_refused_whole() -> None:
    s = Scenario(state_bytes_max=100)
    s.sync({"fn": "ship"})
    s.attach()
    s.send()
    assert s.checkpoint(done("a", "x" * 48)) is None
    assert s.checkpoint(done("b"), done("c", "x" * 50)) == "run_state_too_large"
    assert not s.has_step("b")
    # What is there already, or comes twice, counts once.
    assert s.checkpoint(done("a", "x" * 98), done("b", "y" * 48), done("b", "z" * 98)) is None
    assert json.loads(s.step_row("b").data) == "y" * 48
    assert s.checkpoint(done("c", 1)) == "run_state_too_large"
    assert s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_a_restart_after_it(s: Scenario) -> None:
    s.send()
    s.checkpoint(done("a"))
    s.restart()
    s.attach()
    assert s.checkpoint(done("b")) is None
    assert s.reply(returned())


def test_after_a_restart_the_next_step_does_not_begin_before_those_that_were_reported(
    s: Scenario,
) -> None:
    s.send()
    s.checkpoint(done("a"))
    s.pass_ms(5_000)
    s.checkpoint(done("b"))
    s.restart()
    s.attach("c2")
    s.pass_ms(10)
    s.reply(ops(done("c")))
    assert s.step_row("c").started_at_ms >= s.step_row("b").ended_at_ms
