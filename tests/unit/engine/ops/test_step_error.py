"""`StepError` and `StepFailed`: a step's body raised."""

from __future__ import annotations

import msgspec
import pytest

from stepwell.engine.rows import HistoryKind, PutHistory, PutStep, RunStatus, StepKind, UpdateRun
from tests.unit.engine.scenario import Scenario, op, ops, raised, ran, returned, step_id

ERROR = {"name": "Error", "message": "no"}


def a_call(retries: int = 2, **config: int | None) -> Scenario:
    s = Scenario(**config)
    s.sync({"fn": "ship", "retries": retries})
    s.attach()
    s.send()
    return s


def failed(name: str = "a", kind: str = "StepError") -> dict[str, object]:
    return op(kind, name, error=ERROR)


def test_the_same_call_is_tried_again_after_the_interval() -> None:
    s = a_call()
    first = s.call
    s.reply(ops(failed()))
    s.pass_ms(999)
    assert len(s.calls) == 1
    s.pass_ms(1)
    assert s.call.request_id != first.request_id
    assert (s.call.job_no, s.call.attempt, s.call.generation) == (first.job_no, 1, 2)


def test_a_failed_attempt_is_history() -> None:
    s = a_call()
    s.reply(ops(failed("charge")))
    (row,) = s.rows(PutHistory)
    assert (row.kind, row.step_id) == (HistoryKind.ATTEMPT_FAILED, step_id("charge"))
    assert (row.name, row.attempt) == ("charge", 0)
    assert row.payload is not None
    assert msgspec.json.decode(row.payload) == ERROR


def test_the_last_attempt_fails_the_step_and_the_function_goes_on() -> None:
    s = a_call(retries=1)
    s.reply(ops(failed()))
    s.pass_ms(1_000)
    s.reply(ops(failed()))
    (row,) = s.rows(PutStep)
    assert (row.kind, row.attempt) == (StepKind.FAILED, 1)
    assert msgspec.json.decode(row.data) == ERROR
    assert (s.call.attempt, s.call.stack) == (0, (step_id("a"),))


def test_attempts_begin_anew_with_the_next_step() -> None:
    s = a_call()
    s.reply(ops(failed("a")))
    s.pass_ms(1_000)
    s.reply(ran("a"))
    s.reply(ops(failed("b")))
    s.pass_ms(1_000)
    assert s.call.attempt == 1
    assert s.rows(PutStep)[0].attempt == 1


def test_a_step_that_failed_for_good_is_stored_at_once() -> None:
    s = a_call()
    s.reply(ops(failed(kind="StepFailed")))
    (row,) = s.rows(PutStep)
    assert row.kind is StepKind.FAILED
    assert len(s.calls) == 2


@pytest.mark.parametrize("kind", ["StepError", "StepFailed"])
def test_a_forbidden_retry_fails_the_step_and_the_function_is_told_so(kind: str) -> None:
    s = a_call()
    s.reply(ops(failed(kind=kind), no_retry=True))
    (row,) = s.rows(PutStep)
    assert row.kind is StepKind.FAILED
    assert msgspec.json.decode(row.data) == {**ERROR, "noRetry": True}
    assert len(s.calls) == 2


def test_the_worker_may_say_when_to_try_again() -> None:
    s = a_call()
    s.reply(ops(failed(), retry_at_ms=s.now_ms + 60_000))
    s.pass_ms(59_999)
    assert len(s.calls) == 1
    s.pass_ms(1)
    assert s.call.attempt == 1


def test_an_error_without_details_is_one_all_the_same() -> None:
    s = a_call(retries=0)
    s.reply(ops(op("StepError", "a")))
    (row,) = s.rows(PutStep)
    assert msgspec.json.decode(row.data)["name"] == "Error"


def test_delays_without_an_interval_follow_the_schedule() -> None:
    s = a_call(retries=4, retry_interval_ms=None)
    for low_s, high_s in ((15, 45), (30, 60), (60, 90), (120, 150)):
        s.reply(ops(failed()))
        calls = len(s.calls)
        s.pass_ms(low_s * 1_000 - 1)
        assert len(s.calls) == calls
        s.pass_ms((high_s - low_s) * 1_000 + 1)
        assert len(s.calls) == calls + 1


def test_an_interval_of_nothing_tries_again_in_the_same_turn() -> None:
    s = a_call(retry_interval_ms=0)
    s.reply(ops(failed()))
    assert (len(s.calls), s.call.attempt) == (2, 1)


def test_an_error_of_a_targeted_step_leaves_its_siblings_alone() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")))
    s.reply(ops(failed("a")), s.call_for("a"))
    s.reply(ran("b"), s.call_for("b"))
    s.pass_ms(1_000)
    assert (s.call.step_id, s.call.attempt) == (step_id("a"), 1)
    s.reply(ran("a"))
    assert s.call.stack == (step_id("b"), step_id("a"))
    assert len(s.calls) == 5, "1 + 2 + 1 and the retry"


def test_an_error_after_steps_that_went_well_is_tried_again_as_one_call() -> None:
    """Steps that ran in one call are reported together; only the failed one runs again."""
    s = a_call()
    s.reply(ops(op("StepRun", "a"), failed("b")))
    assert len(s.calls) == 1, "the call is tried again, there is no other"
    s.pass_ms(1_000)
    assert (s.call.attempt, s.call.stack, s.call.current) == (1, (step_id("a"),), 1)
    s.reply(ran("b"))
    s.reply(returned())
    assert len(s.calls) == 3
    assert s.rows(UpdateRun)[-1].status is RunStatus.COMPLETED


def test_the_order_of_error_and_success_in_a_response_does_not_matter() -> None:
    s = a_call()
    s.reply(ops(failed("b"), op("StepRun", "a")))
    assert len(s.calls) == 1
    s.pass_ms(1_000)
    assert (s.call.attempt, s.call.stack, s.call.current) == (1, (step_id("a"),), 1)


def test_steps_that_failed_side_by_side_are_each_tried_again() -> None:
    """A function that runs a group in one call reports all that failed of it together."""
    s = a_call()
    s.reply(ops(failed("a"), op("StepRun", "c"), failed("b")))
    assert [row.step_id for row in s.rows(PutHistory)] == [step_id("a"), step_id("b")]
    s.pass_ms(1_000)
    assert {call.step_id for call in s.calls[1:]} == {step_id("a"), step_id("b")}
    assert {(call.attempt, call.plan_only) for call in s.calls[1:]} == {(1, True)}
    s.reply(ran("a"), s.call_for("a"))
    assert len(s.calls) == 3, "the function goes on when both are over"
    s.reply(ran("b"), s.call_for("b"))
    assert (s.call.step_id, s.call.plan_only, s.call.attempt) == ("step", False, 0)
    assert s.call.stack == (step_id("c"), step_id("a"), step_id("b"))


def test_each_of_them_has_the_attempts_of_one_step() -> None:
    s = a_call(retries=1)
    s.reply(ops(failed("a"), failed("b")))
    s.pass_ms(1_000)
    s.reply(ops(failed("a")), s.call_for("a"))
    s.reply(ran("b"), s.call_for("b"))
    (row,) = s.rows(PutStep)[:1]
    assert (row.step_id, row.kind, row.attempt) == (step_id("a"), StepKind.FAILED, 1)
    assert s.call.stack == (step_id("a"), step_id("b"))


def test_without_attempts_left_they_fail_at_once() -> None:
    s = a_call(retries=0)
    s.reply(ops(failed("a"), failed("b")))
    assert [row.kind for row in s.rows(PutStep)] == [StepKind.FAILED] * 2
    assert s.call.stack == (step_id("a"), step_id("b"))


def test_a_crash_while_they_wait_loses_none_of_them() -> None:
    s = a_call()
    s.reply(ops(failed("a"), failed("b")))
    s.restart()
    s.attach("c2")
    s.pass_ms(1_000)
    assert {s.call_for("a").attempt, s.call_for("b").attempt} == {1}


def test_an_error_beside_a_planned_step_is_tried_again_while_that_one_runs() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a"), failed("b")))
    assert s.call.step_id == step_id("a")
    s.reply(ran("a"))
    s.pass_ms(1_000)
    assert (s.call.step_id, s.call.attempt, s.call.plan_only) == (step_id("b"), 1, True)
    s.reply(ran("b"))
    assert (s.call.step_id, s.call.plan_only) == ("step", False)


def test_another_steps_error_beside_the_outcome_of_a_targeted_call_has_the_function_go_on() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a")))
    s.reply(ops(op("StepRun", "a"), failed("b")))
    assert (s.call.step_id, s.call.stack, s.call.attempt) == ("step", (step_id("a"),), 0)
    assert [row.name for row in s.rows(PutHistory)] == ["a", "b"]
    s.pass_ms(60_000)
    assert len(s.calls) == 3, "there is no other call"


def test_another_steps_error_before_the_outcome_of_a_targeted_call_strands_nothing() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a")))
    s.reply(ops(failed("b"), op("StepRun", "a")))
    assert (s.call.step_id, s.call.stack) == ("step", (step_id("a"),))


def test_the_same_beside_a_sibling_that_the_function_forgot_strands_nothing_either() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a"), failed("forgotten")))
    s.pass_ms(1_000)
    s.reply(ops(), s.call_for("forgotten"))
    asked_again = s.call
    s.reply(ops(failed("b"), op("StepRun", "a")), s.call_for("a"))
    s.reply(ops(), asked_again)
    assert (s.call.step_id, s.call.stack) == ("step", (step_id("a"),))


def test_a_targeted_call_that_plans_its_step_and_fails_is_tried_again_once() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a")))
    s.reply(ops(op("StepPlanned", "a"), failed("b")))
    s.pass_ms(60_000)
    assert [call.step_id for call in s.calls] == ["step", step_id("a"), step_id("a")]


def test_a_function_that_raises_on_a_targeted_call_fails_as_a_whole_in_the_end() -> None:
    s = a_call(retries=1)
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")))
    s.reply(raised("boom"), s.call_for("a"))
    s.pass_ms(1_000)
    assert (s.call.step_id, s.call.attempt) == (step_id("a"), 1)
    other = s.call_for("b")
    s.reply(raised("boom"))
    assert s.rows(UpdateRun)[-1].status is RunStatus.FAILED
    assert not s.reply(ran("b"), other), "the run is over, its calls are no longer current"
