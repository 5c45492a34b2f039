"""`StepRun` and `Step`: a step's body returned."""

from __future__ import annotations

import pytest

from stepwell.engine.rows import PutStep, StepKind
from tests.unit.engine.scenario import Scenario, op, ops, ran, step_id


def a_call() -> Scenario:
    s = Scenario()
    s.sync({})
    s.attach()
    s.send()
    return s


def test_the_outcome_is_stored_with_what_the_call_knew() -> None:
    s = a_call()
    sent_ms = s.now_ms
    s.pass_ms(70)
    s.reply(ran("charge", {"paid": True}))
    (row,) = s.rows(PutStep)
    assert row.step_id == step_id("charge")
    assert (row.kind, row.name, row.data) == (StepKind.RUN, "charge", b'{"paid": true}')
    assert (row.position, row.attempt) == (0, 0)
    assert (row.started_at_ms, row.ended_at_ms) == (sent_ms, sent_ms + 70)


def test_the_next_call_follows_at_once_at_attempt_0_as_a_new_job() -> None:
    s = a_call()
    first = s.call
    s.reply(ran("a"))
    assert s.call.request_id != first.request_id
    assert (s.call.job_no, s.call.attempt, s.call.generation) == (1, 0, 1)
    assert s.call.stack == (step_id("a"),)
    assert s.call.current == 1
    assert s.call.step_id == "step"


def test_the_first_outcome_of_a_step_stays() -> None:
    s = a_call()
    s.reply(ran("a", "first"))
    s.reply(ran("a", "second"))
    assert [row.data for row in s.rows(PutStep)] == [b'"first"']
    assert len(s.calls) == 3, "the function is called again"


def test_the_first_outcome_stays_within_one_response_too() -> None:
    s = a_call()
    s.reply(ops(op("StepRun", "a", data=1), op("StepRun", "a", data=2)))
    assert [row.data for row in s.rows(PutStep)] == [b"1"]


def test_several_steps_of_one_response_take_one_further_call() -> None:
    s = a_call()
    s.reply(ops(*[op("StepRun", name, data=name) for name in "abc"]))
    assert [row.position for row in s.rows(PutStep)] == [0, 1, 2]
    assert len(s.calls) == 2
    assert s.call.stack == tuple(step_id(name) for name in "abc")
    assert s.call.current == 3
    assert not s.call.plan_only


def test_a_step_without_data_comes_to_null() -> None:
    s = a_call()
    s.reply(ops({"op": "StepRun", "id": "x"}))
    (row,) = s.rows(PutStep)
    assert (row.data, row.name) == (b"null", "x")


def test_an_older_sdk_stores_the_bare_value() -> None:
    s = a_call()
    s.reply(ops(op("Step", "a", data={"data": 1})))
    (row,) = s.rows(PutStep)
    assert (row.kind, row.data) == (StepKind.LEGACY, b'{"data": 1}')
    assert len(s.calls) == 2


def test_a_step_that_is_called_like_an_untargeted_call_withdraws_no_other() -> None:
    s = a_call()
    strange = {"op": "StepRun", "id": "step", "data": 1}
    s.reply(ops(op("StepPlanned", "a"), strange))
    s.reply(ran("a"), s.call_for("a"))
    assert s.call.step_id == "step"
    assert s.call.stack == ("step", step_id("a"))


def test_an_op_may_be_spelled_in_any_letter_case() -> None:
    s = a_call()
    s.reply(ops(op("STEPRUN", "a", data=1)))
    assert len(s.rows(PutStep)) == 1


def test_the_execution_version_is_settled_by_the_first_ops() -> None:
    s = a_call()
    assert s.call.version == -1
    s.reply(ran("a"))
    assert s.call.version == 2


def test_a_later_version_does_not_change_it() -> None:
    s = a_call()
    s.reply(ops(op("StepRun", "a"), version=1))
    s.reply(ops(op("StepRun", "b"), version=2))
    assert s.call.version == 1


@pytest.mark.parametrize("version", [-1, 0])
def test_a_worker_that_names_no_version_has_the_current_one(version: int) -> None:
    s = a_call()
    s.reply(ops(op("StepRun", "a"), version=version))
    assert s.call.version == 2


def test_many_steps_are_sent_without_their_data_for_the_sdk_to_fetch() -> None:
    s = a_call()
    s.reply(ran("a", "x" * (3 * 2**20)))
    assert not s.call.use_api
    s.reply(ran("b", "x" * (2 * 2**20)))
    assert s.call.use_api
