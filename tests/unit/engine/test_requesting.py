"""Requests that the server makes for a step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.rows import HistoryKind, PutHistory, RunStatus, StepKind
from tests.unit.engine.scenario import Scenario, op, ops, ran, returned, step_id

ERROR = {"name": "Error", "message": "no answer"}


@pytest.fixture
def s() -> Scenario:
    scenario = Scenario()
    scenario.sync({"fn": "ship", "retries": 2})
    scenario.attach()
    return scenario


def fetch(step: str = "get", kind: str = "Gateway", **opts: Any) -> dict[str, Any]:
    return op(kind, step, opts={"url": "http://a", **opts})


def start(s: Scenario, *fetches: Any) -> None:
    s.send()
    s.reply(ops(*(fetches or (fetch(),))))


@pytest.mark.parametrize(
    ("kind", "history"),
    [("Gateway", HistoryKind.FETCH_STARTED), ("AIGateway", HistoryKind.INFER_STARTED)],
)
def test_the_request_is_told_in_the_history_and_its_answer_is_the_steps(
    s: Scenario, kind: str, history: HistoryKind
) -> None:
    start(s, fetch(kind=kind))
    (row,) = s.rows(PutHistory)
    (request,) = s.requests
    assert (row.kind, row.seq, row.name) == (history, request.seq, "get")
    assert json.loads(row.payload or b"") == {"url": "http://a"}
    assert (request.run_id, request.step_id, request.attempt) == (
        s.call.run_id,
        step_id("get"),
        0,
    )
    calls = len(s.calls)
    s.pass_ms(10)
    s.request_ends(data={"status": 200})
    step = s.step_row("get")
    assert (step.kind, json.loads(step.data)) == (StepKind.FETCH, {"status": 200})
    assert step.ended_at_ms - step.started_at_ms == 10
    assert len(s.calls) == calls + 1
    assert s.call.stack == (step_id("get"),)
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_a_failure_is_tried_again_and_then_fails_the_step(s: Scenario) -> None:
    start(s)
    for attempt in range(2):
        s.request_ends(error=ERROR)
        assert s.rows(PutHistory)[-1].kind is HistoryKind.ATTEMPT_FAILED
        assert len(s.requests) == attempt + 1
        s.pass_ms(1_000)
        assert s.requests[-1].attempt == attempt + 1
    s.request_ends(error=ERROR)
    step = s.step_row("get")
    assert (step.kind, json.loads(step.data), step.attempt) == (StepKind.FAILED, ERROR, 2)
    assert s.call.stack == (step_id("get"),)


def test_a_failure_that_must_not_be_tried_again(s: Scenario) -> None:
    start(s)
    s.request_ends(error=ERROR, no_retry=True)
    assert s.step_row("get").kind is StepKind.FAILED


def test_a_failure_that_says_when_to_try_again(s: Scenario) -> None:
    start(s)
    s.request_ends(error=ERROR, retry_at_ms=s.now_ms + 90_000)
    s.pass_ms(89_999)
    assert len(s.requests) == 1
    s.pass_ms(1)
    assert len(s.requests) == 2


def test_a_report_of_an_earlier_attempt_changes_nothing(s: Scenario) -> None:
    start(s)
    s.request_ends(error=ERROR)
    s.pass_ms(1_000)
    s.request_ends(s.requests[0], data="late")
    assert not s.has_step("get")
    s.request_ends(data="now")
    s.request_ends(data="again")
    assert json.loads(s.step_row("get").data) == "now"


def test_a_report_cannot_name_a_workers_call(s: Scenario) -> None:
    start(s, fetch(), op("StepPlanned", "a"))
    as_if = type(s.requests[0])(
        request_id=s.call.request_id,
        run_id=s.call.run_id,
        step_id="x",
        seq=0,
        attempt=0,
    )
    s.request_ends(as_if, data="x")
    assert not s.has_step("a")
    assert s.reply(ran("a"))


def test_after_a_restart_it_is_made_again_at_once_as_the_same_attempt(s: Scenario) -> None:
    start(s)
    first = s.requests[0]
    s.restart()
    s.attach()
    assert len(s.requests) == 2
    assert s.requests[1].attempt == 0
    assert s.requests[1].seq == first.seq
    s.request_ends(first, data="late")
    assert not s.has_step("get")
    s.request_ends(data="now")
    assert s.has_step("get")
    assert HistoryKind.CALL_LOST not in [row.kind for row in s.rows(PutHistory)]


def test_after_a_failed_commit_it_stays_where_it_is(s: Scenario) -> None:
    start(s)
    before = s.partition
    s.partition = s.rebuilt()
    s.partition.take_over(before, ())
    s.attach()
    assert len(s.requests) == 1
    s.request_ends(data="now")
    assert s.has_step("get")


def test_one_that_nobody_makes_is_ordered_again_when_its_lease_ends(s: Scenario) -> None:
    start(s)
    s.pass_ms(s.config.lease_ms)
    assert len(s.requests) == 2


def test_the_end_of_its_run_withdraws_it(s: Scenario) -> None:
    start(s)
    s.cancel()
    assert s.withdrawn == [s.requests[0].request_id]
    s.request_ends(data="late")
    assert len(s.ends) == 1


def test_several_side_by_side(s: Scenario) -> None:
    start(s, fetch("one"), fetch("two"), op("StepPlanned", "a"))
    one, two = s.requests
    s.request_ends(two, data=2)
    s.reply(ran("a"), s.call_for("a"))
    s.request_ends(one, data=1)
    assert s.call.stack == (step_id("two"), step_id("a"), step_id("one"))


def test_the_step_is_reported_twice(s: Scenario) -> None:
    start(s, fetch(), op("StepPlanned", "a"))
    s.reply(ops(op("StepRun", "a"), fetch()), s.call_for("a"))
    assert len(s.requests) == 1


def test_it_takes_no_slot_of_a_worker(s: Scenario) -> None:
    s.attach(limit=1)
    start(s)
    s.send()
    assert s.call.stack == ()
    assert len({call.run_id for call in s.calls}) == 2


def test_a_step_of_the_name_of_calls_that_are_aimed_at_none(s: Scenario) -> None:
    start(s, {"op": "Gateway", "id": "step", "opts": {}})
    s.request_ends(data=1)
    assert s.call.stack == ("step",)
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_the_first_restart_of_a_retry_that_waits(s: Scenario) -> None:
    start(s)
    s.request_ends(error=ERROR)
    s.restart()
    s.attach()
    s.pass_ms(1_000)
    assert [request.attempt for request in s.requests] == [0, 1]
