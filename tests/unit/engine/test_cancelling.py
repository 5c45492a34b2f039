"""What ends a run from outside: an event, a request, a timeout."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.inputs import CallReported, CancelRequested
from stepwell.engine.rows import HistoryKind, PutEvent, PutHistory, PutWatch, RunStatus
from stepwell.wire.ids import RunId, ulid_text
from tests.unit.engine.scenario import Scenario, op, ops, ran, returned

HOUR_MS = 3_600_000

ON_VOID = [{"event": "order/void", "if": "async.data.id == event.data.id"}]


def scenario(*, workers: bool = True, **options: Any) -> Scenario:
    """A function that is cancelled by `order/void` with its own id, unless it is told."""
    s = Scenario()
    s.sync({"fn": "ship", **({"cancel": ON_VOID} | options)})
    if workers:
        s.attach()
    return s


def void(s: Scenario, order: Any = 7) -> None:
    s.send("order/void", {"id": order})


def statuses(s: Scenario) -> list[RunStatus]:
    return [end.status for end in s.ends]


def test_before_the_first_step() -> None:
    s = scenario()
    s.send(data={"id": 7})
    call = s.call
    void(s)
    assert statuses(s) == [RunStatus.CANCELLED]
    assert s.withdrawn == [call.request_id]
    assert not s.reply(returned("late"), call)
    assert statuses(s) == [RunStatus.CANCELLED]
    (row,) = s.rows(PutHistory)
    assert row.kind is HistoryKind.CANCELLED
    assert json.loads(row.payload or b"") == {"reason": "an event", "event": "order/void"}


def test_between_two_steps_and_after_the_end() -> None:
    s = scenario()
    s.send(data={"id": 7})
    s.reply(ran("a"))
    void(s)
    assert statuses(s) == [RunStatus.CANCELLED]
    void(s)
    s.send(data={"id": 7})
    s.reply(returned())
    void(s)
    assert statuses(s) == [RunStatus.CANCELLED, RunStatus.COMPLETED]


def test_an_event_that_came_before_the_run_does_not_count() -> None:
    s = scenario()
    void(s)
    s.send(data={"id": 7})
    assert not s.ends


@pytest.mark.parametrize("data", [{"id": 8}, {"id": "7"}, {"id": None}, {}])
def test_an_event_that_does_not_match(data: Any) -> None:
    s = scenario()
    s.send(data={"id": 7})
    s.send("order/void", data)
    assert not s.ends
    s.reply(returned())
    assert statuses(s) == [RunStatus.COMPLETED]


def test_two_that_are_both_missing_do_not_match() -> None:
    s = scenario()
    s.send()
    s.send("order/void")
    assert not s.ends


def test_a_cancel_that_can_never_match_watches_for_nothing() -> None:
    s = scenario(cancel=[{"event": "order/void", "if": "event.data.kind == 'gift'"}])
    s.send(data={"kind": "sale"})
    assert not s.rows(PutWatch)
    s.send(data={"kind": "gift"})
    s.send("order/void")
    assert len(s.ends) == 1


def test_its_own_trigger_does_not_cancel_a_run_but_the_next_one_does() -> None:
    s = scenario(cancel=[{"event": "order/paid"}])
    s.send()
    first = s.call.run_id
    assert not s.ends
    s.send()
    assert [end.run_id for end in s.ends] == [first]


def test_any_of_several_cancels() -> None:
    s = scenario(cancel=[*ON_VOID, {"event": "shop/closed"}])
    s.send(data={"id": 7})
    s.send("shop/closed")
    assert statuses(s) == [RunStatus.CANCELLED]


@pytest.mark.parametrize(("after_ms", "cancels"), [(HOUR_MS - 1, True), (HOUR_MS, False)])
def test_until_its_time_is_over(after_ms: int, cancels: bool) -> None:
    s = scenario(cancel=[{"event": "order/void", "timeout": "1h"}])
    s.send()
    s.reply(ops(op("Sleep", "nap", name="2h")))
    s.pass_ms(after_ms)
    void(s)
    assert bool(s.ends) is cancels
    s.pass_ms(2 * HOUR_MS)
    assert s.ends or s.reply(returned())


def test_a_run_that_sleeps_for_long_is_not_in_memory() -> None:
    s = scenario()
    s.send(data={"id": 7})
    s.reply(ops(op("Sleep", "nap", name="2h")))
    assert s.call.run_id not in s.partition.runs
    void(s, 8)
    assert s.call.run_id not in s.partition.runs
    s.restart()
    void(s)
    assert statuses(s) == [RunStatus.CANCELLED]
    s.pass_ms(3 * HOUR_MS)
    assert len(s.ends) == 1


def test_queued_runs_that_are_on_disk_only() -> None:
    s = Scenario(queue_window=2)
    s.sync({"fn": "ship", "cancel": ON_VOID})
    for number in range(8):
        s.send(data={"id": number})
    assert len(s.partition.runs) < 8
    void(s, 6)
    assert statuses(s) == [RunStatus.CANCELLED]
    s.attach(limit=1)
    for _ in range(7):
        assert s.reply(returned())
    assert statuses(s).count(RunStatus.COMPLETED) == 7


def test_a_request_cancels_a_run_once() -> None:
    s = scenario()
    s.send()
    call = s.call
    assert s.cancel()
    assert not s.cancel()
    assert not s.cancel(RunId(b"x" * 16))
    assert s.withdrawn == [call.request_id]
    (row,) = s.rows(PutHistory)
    assert json.loads(row.payload or b"") == {"reason": "a request"}


def test_a_request_cancels_a_run_that_is_on_disk_only() -> None:
    s = Scenario(queue_window=1)
    s.sync({"fn": "ship"})
    s.send_many(*[{"name": "order/paid", "data": {}}] * 4)
    last = s.rows(PutEvent)[-1].runs[0]
    assert last not in s.partition.runs
    assert s.cancel(last)
    s.restart()
    s.attach(limit=1)
    for _ in range(3):
        assert s.reply(returned())
    assert len(s.ends) == 4


def test_a_report_and_a_cancellation_in_one_turn() -> None:
    """The first one wins."""
    for cancel_first in (False, True):
        s = scenario()
        s.send()
        report = CallReported(ticket=s.ticket(), request_id=s.call.request_id, outcome=returned())
        cancel = CancelRequested(ticket=s.ticket(), run_id=s.call.run_id)
        if cancel_first:
            s.step(cancel, report)
        else:
            s.step(report, cancel)
        won = RunStatus.CANCELLED if cancel_first else RunStatus.COMPLETED
        assert statuses(s) == [won]


def test_all_calls_of_a_run_are_withdrawn() -> None:
    s = scenario()
    s.send(data={"id": 7})
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")))
    calls = s.calls[-2:]
    void(s)
    assert sorted(s.withdrawn) == sorted(call.request_id for call in calls)
    assert not any(s.reply(ran("x"), call) for call in calls)


def test_a_call_whose_worker_is_away_is_not_withdrawn() -> None:
    s = scenario()
    s.send(data={"id": 7})
    call = s.call
    s.partition.ack(call.request_id)
    s.gone()
    void(s)
    assert s.withdrawn == []
    s.attach()
    assert not s.reply(returned(), call)


def test_a_cancellation_has_its_events() -> None:
    s = scenario()
    s.sync({"fn": "ship"}, {"fn": "tidy", "triggers": [{"event": "inngest/function.cancelled"}]})
    s.attach()
    s.send()
    run_id = s.call.run_id
    s.cancel()
    told = {row.name: row.external_id for row in s.rows(PutEvent) if row.source_run == run_id}
    assert told == {
        "inngest/function.finished": None,
        "inngest/function.cancelled": ulid_text(run_id),
    }
    assert s.call.function_no == 2


def test_a_condition_that_the_event_makes_too_large_fails_the_run() -> None:
    s = scenario(cancel=[{"event": "order/void", "if": "async.data.text == event.data.text"}])
    s.send(data={"text": "x" * 100_000})
    (end,) = s.ends
    assert end.status is RunStatus.FAILED
    error = json.loads(end.output or b"")
    assert error["name"] == "InvalidExpression"
    assert "order/void" in error["message"]
    s.send(data={"text": "x"})
    s.send("order/void", {"text": "x"})
    assert statuses(s) == [RunStatus.FAILED, RunStatus.CANCELLED]


# --- timeouts ---


def test_a_run_that_does_not_begin_in_time() -> None:
    s = scenario(workers=False, timeouts={"start": "10s"})
    s.send()
    s.pass_ms(9_999)
    assert not s.ends
    s.pass_ms(1)
    assert statuses(s) == [RunStatus.CANCELLED]
    assert json.loads(s.rows(PutHistory)[-1].payload or b"") == {"reason": "its start timeout"}
    calls = len(s.calls)
    s.attach()
    assert len(s.calls) == calls


def test_a_run_that_begins_in_time_has_no_start_timeout_any_more() -> None:
    s = scenario(timeouts={"start": "10s"})
    s.send()
    s.pass_ms(60_000)
    assert s.reply(returned())


def test_a_retry_of_the_first_call_has_begun() -> None:
    s = scenario(timeouts={"start": "10s"})
    s.send()
    s.partition.ack(s.call.request_id)
    s.gone()
    s.pass_ms(60_000)
    assert not s.ends


def test_a_run_that_does_not_end_in_time_from_its_first_call_on() -> None:
    s = scenario(workers=False, timeouts={"finish": "1h"})
    s.send()
    s.pass_ms(HOUR_MS)
    s.attach()
    call = s.call
    s.reply(ops(op("Sleep", "nap", name="5h")))
    s.pass_ms(HOUR_MS - 1)
    assert not s.ends
    s.pass_ms(1)
    assert statuses(s) == [RunStatus.CANCELLED]
    assert json.loads(s.rows(PutHistory)[-1].payload or b"") == {"reason": "its finish timeout"}
    assert s.last is not None
    assert not s.reply(returned(), call)


def test_a_call_that_is_out_is_withdrawn_when_the_time_is_over() -> None:
    s = scenario(timeouts={"finish": "5s"})
    s.send()
    call = s.call
    s.pass_ms(5_000)
    assert s.withdrawn == [call.request_id]


@pytest.mark.parametrize("timeout", ["start", "finish"])
def test_timeouts_go_on_over_a_restart(timeout: str) -> None:
    s = scenario(workers=timeout == "finish", timeouts={timeout: "2h"})
    s.send()
    if timeout == "finish":
        s.reply(ops(op("Sleep", "nap", name="5h")))
    s.pass_ms(HOUR_MS)
    s.restart()
    s.pass_ms(HOUR_MS - 1)
    assert not s.ends
    s.restart()
    s.pass_ms(1)
    assert statuses(s) == [RunStatus.CANCELLED]


def test_start_timeouts_of_runs_that_are_on_disk_only() -> None:
    s = Scenario(queue_window=1)
    s.sync({"fn": "ship", "timeouts": {"start": "1h"}})
    for _ in range(4):
        s.send()
    s.pass_ms(HOUR_MS)
    assert statuses(s) == [RunStatus.CANCELLED] * 4
