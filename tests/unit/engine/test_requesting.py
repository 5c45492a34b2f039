"""Requests that the server makes for a step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.engine.request_secrets import joined
from stepwell.engine.rows import (
    DeleteRequestSecrets,
    HistoryKind,
    PutHistory,
    PutRequestSecrets,
    RunStatus,
    StepKind,
)
from tests.unit.engine.scenario import Scenario, op, ops, ran, returned, step_id

if TYPE_CHECKING:
    from stepwell.engine.effects import Request

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


# --- the queue ---


def crowd(**config: Any) -> Scenario:
    """Two functions, `ship` for `order/paid` and `bill` for `order/billed`."""
    scenario = Scenario(**config)
    scenario.sync(
        {"fn": "ship", "retries": 2},
        {"fn": "bill", "triggers": [{"event": "order/billed"}]},
    )
    scenario.attach()
    return scenario


def bill(s: Scenario, *steps: str) -> list[Request]:
    """A run of the other function asks; returns what is ordered."""
    before = len(s.requests)
    s.send("order/billed")
    s.reply(ops(*map(fetch, steps)))
    return s.requests[before:]


def test_what_there_is_no_room_for_waits_in_the_order_in_which_it_came() -> None:
    s = crowd(step_requests_max=4)
    names = [f"get {n}" for n in range(5)]
    start(s, *map(fetch, names))
    assert [request.step_id for request in s.requests] == [step_id(name) for name in names[:2]]
    for done in range(5):
        s.request_ends(s.requests[done])  # the next one begins in the same turn
        assert len(s.requests) == min(done + 3, 5)
    assert [request.step_id for request in s.requests] == [step_id(name) for name in names]


def test_a_function_with_many_requests_leaves_room_for_others() -> None:
    s = crowd(step_requests_max=6)
    start(s, *(fetch(f"get {n}") for n in range(50)))
    assert len(s.requests) == 3
    assert len(bill(s, "a", "b", "c")) == 2
    s.request_ends(s.requests[0])
    assert len(s.requests) == 5, "each has as many as are free"
    s.request_ends()
    assert s.requests[-1].step_id == step_id("c"), "the one that has fewer is first"


def test_a_run_that_waits_for_its_turn_costs_no_memory_and_survives_a_restart() -> None:
    s = crowd(step_requests_max=2, queue_window=2)
    first = []
    for _ in range(20):
        s.send()
        first.append(s.call.run_id)
        s.reply(ops(fetch()))
    assert len(s.requests) == 1
    assert len(s.partition.runs) < 10
    s.restart()
    s.attach()
    s.step()
    for done in range(1, 21):
        s.request_ends(data=done)
    asked = [request.run_id for request in s.requests]
    assert asked == [first[0], *first]  # the one that was out is made again
    assert len(s.partition.runs) >= 20  # each has a call now


def test_a_run_that_waits_for_both_kinds_stays_in_memory_for_its_calls() -> None:
    s = crowd(step_requests_max=1, queue_window=1)
    for _ in range(4):
        s.send()
        s.reply(ops(fetch()))
    s.send()
    s.partition.ack(s.call.request_id)
    s.detach()
    s.reply(ops(fetch(), fetch("x"), fetch("y"), op("StepPlanned", "a"), op("StepPlanned", "b")))
    assert len(s.partition.runs) < 5, "others left"
    s.attach("c2", limit=2)
    assert {call.step_id for call in s.calls[-2:]} == {step_id("a"), step_id("b")}


def test_the_run_says_that_its_request_waits() -> None:
    s = crowd(step_requests_max=2)
    start(s)
    other = bill(s, "a")
    assert other
    s.send()
    s.reply(ops(fetch()))
    run_id = s.calls[-1].run_id
    state = s.reader.live_state(run_id)
    assert state is not None
    waiting = s.partition.waiting(1, state)
    assert waiting is not None
    assert (waiting.reason, waiting.until_ms) == ("request_queued", None)
    assert "--step-requests-max" in waiting.text
    s.request_ends(s.requests[0])
    state = s.reader.live_state(run_id)
    assert state is not None
    assert s.partition.waiting(1, state) is None


def test_the_end_of_its_run_takes_it_out_of_the_queue() -> None:
    s = crowd(step_requests_max=2)
    start(s)
    s.send()
    s.reply(ops(fetch()))
    assert s.cancel()
    assert s.withdrawn == []
    s.request_ends()
    assert len(s.requests) == 1


# --- secrets and size ---


def secret(s: Scenario, request: Request | None = None) -> bytes | None:
    asked = request or s.requests[-1]
    return s.reader.request_secrets(asked.run_id, asked.seq)


def test_a_key_is_not_in_the_history_and_goes_with_the_request(s: Scenario) -> None:
    start(s, fetch(kind="AIGateway", auth_key="k1", headers={"Authorization": "k2"}))
    (row,) = s.rows(PutHistory)
    shown = row.payload or b""
    assert b"k1" not in shown
    assert b"k2" not in shown
    whole = json.loads(joined(shown, secret(s)))
    assert (whole["auth_key"], whole["headers"]) == ("k1", {"Authorization": "k2"})
    s.request_ends(error=ERROR)
    assert secret(s) is not None, "it is needed for the next attempt"
    s.pass_ms(1_000)
    s.request_ends()
    assert secret(s) is None
    assert any(isinstance(row, DeleteRequestSecrets) for row in s.last.writes)


@pytest.mark.parametrize("how", ["cancelled", "failed", "while it waits"])
def test_a_key_goes_with_the_run(s: Scenario, how: str) -> None:
    start(s, fetch(auth_key="k1"), op("StepPlanned", "a"))
    if how == "while it waits":
        s.request_ends(error=ERROR)
    if how == "failed":
        s.reply(ops(op("Dance", "b")), s.call_for("a"))
    else:
        s.cancel()
    assert len(s.ends) == 1
    assert secret(s) is None


def test_what_has_no_key_costs_no_row(s: Scenario) -> None:
    start(s)
    assert s.rows(PutRequestSecrets) == []


@pytest.mark.parametrize("bulky", [{"body": "x" * 600}, {"auth_key": "x" * 600}])
def test_what_requests_carry_counts_as_state_of_the_run(bulky: dict[str, str]) -> None:
    s = crowd(state_bytes_max=1_500)
    start(s, fetch("one", **bulky), fetch("two", **bulky))
    assert s.ends == []
    s.restart()
    s.attach()
    s.request_ends(s.requests[-1])
    s.request_ends(s.requests[-2])
    s.reply(ops(fetch("three", **bulky)))
    (end,) = s.ends
    assert end.status is RunStatus.FAILED
    assert json.loads(end.output or b"")["name"] == "InngestErrStateOverflowed"
