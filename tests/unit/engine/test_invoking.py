"""A step that runs another function: what it gets, what comes back, and when nothing does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.inputs import CallReported, CancelRequested
from stepwell.engine.rows import HistoryKind, PutEvent, PutHistory, PutRun, RunStatus, StepKind
from stepwell.wire.ids import ulid_text
from tests.unit.engine.scenario import Scenario, op, ops, raised, ran, returned, step_id

HOUR_MS = 3_600_000


@pytest.fixture
def s() -> Scenario:
    scenario = Scenario()
    scenario.sync({"fn": "ship"}, {"fn": "bill", "triggers": []})
    scenario.attach()
    return scenario


def invoke(
    step: str = "bill", function: str = "shop-bill", payload: Any = None, **opts: Any
) -> dict[str, Any]:
    given = {"function_id": function, "payload": payload or {"data": {"n": 1}}, **opts}
    return op("InvokeFunction", step, opts=given)


def start(s: Scenario, *invokes: Any) -> Any:
    """A run begins and invokes; gives its id."""
    s.send()
    run_id = s.call.run_id
    s.reply(ops(*(invokes or (invoke(),))))
    return run_id


def outcome(s: Scenario, step: str = "bill") -> Any:
    row = s.step_row(step)
    return row.kind, json.loads(row.data)


def test_the_function_gets_an_event_and_its_result_is_the_steps(s: Scenario) -> None:
    parent = start(s)
    event = s.rows(PutEvent)[-1]
    child = s.call
    assert child.run_id != parent
    assert event.runs == (child.run_id,)
    assert event.name == "inngest/function.invoked"
    data = json.loads(event.data)
    about = data.pop("_inngest")
    assert data == {"n": 1}
    assert about == {
        "correlation_id": f"{ulid_text(parent)}.{step_id('bill')}",
        "expire": s.now_ms + 365 * 86_400_000,
        "fn_id": "shop-bill",
        "name": "bill",
        "source_app_id": "shop",
        "source_fn_id": "shop-ship",
        "source_fn_v": 1,
    }
    s.reply(returned({"paid": True}))
    assert outcome(s) == (StepKind.INVOKE, {"paid": True})
    assert (s.call.run_id, s.call.stack) == (parent, (step_id("bill"),))


def test_the_history_tells_the_run(s: Scenario) -> None:
    start(s)
    (row,) = s.rows(PutHistory)
    told = json.loads(row.payload or b"")
    assert row.kind is HistoryKind.INVOKE_STARTED
    assert (told["function"], told["run"]) == ("shop-bill", ulid_text(s.call.run_id))


@pytest.mark.parametrize("value", [None, "text", [1], 0])
def test_any_result_comes_back(s: Scenario, value: Any) -> None:
    start(s)
    s.reply(returned(value))
    assert outcome(s) == (StepKind.INVOKE, value)


def test_a_failure_fails_the_step(s: Scenario) -> None:
    start(s)
    s.reply(raised("no money", no_retry=True))
    kind, error = outcome(s)
    assert kind is StepKind.FAILED
    assert (error["name"], error["message"]) == ("Error", "no money")


def test_a_cancelled_run_fails_the_step_at_once(s: Scenario) -> None:
    start(s)
    s.cancel()
    kind, error = outcome(s)
    assert kind is StepKind.FAILED
    assert error["name"] == "InvokedRunCancelled"
    assert "shop-bill" in error["message"]


def test_a_function_that_is_not_there_fails_the_step(s: Scenario) -> None:
    start(s, invoke(function="shop-none"))
    assert outcome(s) == (
        StepKind.FAILED,
        {
            "error": "could not find function with ID: shop-none",
            "message": "could not find function with ID: shop-none",
            "name": "Error",
        },
    )
    assert s.call.stack == (step_id("bill"),)


def test_a_function_that_was_archived_is_not_there(s: Scenario) -> None:
    s.sync({"fn": "ship"})
    start(s)
    assert outcome(s)[0] is StepKind.FAILED


def test_a_function_may_be_named_by_its_id(s: Scenario) -> None:
    entry = s.partition.catalog.named("shop-bill")
    assert entry is not None
    start(s, invoke(function=entry.function_id))
    assert s.call.function_no == entry.no


def test_time_runs_out_and_the_other_run_goes_on(s: Scenario) -> None:
    parent = start(s, invoke(timeout="1h"))
    child = s.call
    for _ in range(HOUR_MS // 60_000):
        s.partition.leases.renew(child.request_id, s.now_ms)
        s.pass_ms(60_000)
    kind, error = outcome(s)
    assert (kind, error["name"]) == (StepKind.FAILED, "InngestInvokeTimeoutError")
    assert s.call.run_id == parent
    assert s.reply(returned("late"), child)
    assert s.ends[-1].run_id == child.run_id
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_a_child_that_ends_after_its_parent(s: Scenario) -> None:
    parent = start(s)
    child = s.call
    assert s.cancel(parent)
    assert s.reply(returned(1), child)
    assert [end.status for end in s.ends] == [RunStatus.CANCELLED, RunStatus.COMPLETED]
    assert s.store.scan_errands(after=b"", limit=1) == []


def test_the_step_is_reported_twice(s: Scenario) -> None:
    start(s, invoke(), op("StepPlanned", "a"))
    s.reply(ops(op("StepRun", "a"), invoke()), s.call_for("a"))
    assert len([row for row in s.rows(PutRun) if row.function_no == 2]) == 1


def test_a_parent_that_is_not_in_memory(s: Scenario) -> None:
    parent = start(s)
    assert parent not in s.partition.runs
    s.reply(returned(5))
    assert outcome(s) == (StepKind.INVOKE, 5)


@pytest.mark.parametrize("point", range(4))
def test_a_restart_at_any_point(s: Scenario, point: int) -> None:
    def restarted(at: int) -> None:
        if at == point:
            s.restart()
            s.attach()

    s.send()
    restarted(0)
    s.reply(ops(invoke()))
    restarted(1)
    child = s.call
    s._turn([CallReported(ticket=0, request_id=child.request_id, outcome=returned(3))])
    restarted(2)
    s.step()
    restarted(3)
    assert outcome(s) == (StepKind.INVOKE, 3)
    s.reply(returned())
    assert len(s.ends) == 2


def test_two_runs_of_one_function_side_by_side(s: Scenario) -> None:
    parent = start(s, invoke("one"), invoke("two"))
    one, two = s.calls[-2:]
    s.reply(returned("second"), two)
    s.reply(returned("first"), one)
    assert outcome(s, "one") == (StepKind.INVOKE, "first")
    assert outcome(s, "two") == (StepKind.INVOKE, "second")
    assert s.call.run_id == parent


def test_parent_and_child_end_in_one_turn(s: Scenario) -> None:
    parent = start(s)
    child = s.call
    s.step(
        CallReported(ticket=s.ticket(), request_id=child.request_id, outcome=returned(1)),
        CancelRequested(ticket=s.ticket(), run_id=parent),
    )
    assert {end.run_id: end.status for end in s.ends} == {
        child.run_id: RunStatus.COMPLETED,
        parent: RunStatus.CANCELLED,
    }


def test_the_event_of_an_invocation_starts_who_is_triggered_by_its_name(s: Scenario) -> None:
    s.sync(
        {"fn": "ship"},
        {"fn": "bill", "triggers": []},
        {"fn": "watch", "triggers": [{"event": "inngest/function.invoked"}]},
    )
    s.attach()
    start(s)
    assert sorted(call.function_no for call in s.calls[-2:]) == [2, 3]
    watcher = next(call for call in s.calls if call.function_no == 3)
    s.reply(returned("not this"), watcher)
    assert not s.has_step("bill")


@pytest.mark.parametrize(
    ("opts", "name"),
    [
        ({"payload": 7}, "InvalidOptions"),
        ({"payload": {"data": [1]}}, "InvalidOptions"),
        ({"timeout": "soon"}, "InngestErrInvalidTimeout"),
    ],
)
def test_an_invocation_that_means_nothing_fails_the_run(s: Scenario, opts: Any, name: str) -> None:
    start(s, op("InvokeFunction", "bill", opts={"function_id": "shop-bill", **opts}))
    (end,) = s.ends
    assert json.loads(end.output or b"")["name"] == name


def test_a_timeout_of_more_than_a_year_is_a_year(s: Scenario) -> None:
    start(s, invoke(timeout="900d"))
    assert not s.ends
    assert json.loads(s.rows(PutEvent)[-1].data)["_inngest"]["expire"] == (
        s.now_ms + 366 * 86_400_000
    )


def test_somebody_invokes_a_function(s: Scenario) -> None:
    run_id = s.invoke("shop-bill", {"n": 2})
    assert run_id == s.call.run_id
    assert json.loads(s.rows(PutEvent)[-1].data) == {"n": 2, "_inngest": {"fn_id": "shop-bill"}}
    s.reply(ran("a"))
    s.reply(returned())
    assert s.ends[-1].run_id == run_id
    assert s.invoke("shop-none") is None


def test_a_function_invokes_itself_and_ends_from_the_inside_out(s: Scenario) -> None:
    start(s, invoke(function="shop-ship"))
    for _ in range(3):
        s.reply(ops(invoke(function="shop-ship")))
    s.reply(returned(0))
    for number in range(4):
        s.reply(returned(number + 1))
    assert [json.loads(end.output or b"") for end in s.ends] == [0, 1, 2, 3, 4]
