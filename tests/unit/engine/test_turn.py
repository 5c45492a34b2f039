"""How runs begin and end, and which events tell of it."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.engine.effects import RunEnded
from stepwell.engine.inputs import CallReported
from stepwell.engine.rows import (
    DeleteLive,
    PutDedup,
    PutEvent,
    PutLive,
    PutRun,
    PutStep,
    RunStatus,
    UpdateRun,
)
from stepwell.wire.ids import ulid_text
from tests.unit.engine.scenario import START_MS, Scenario, raised, ran, returned

FAILED = "inngest/function.failed"
FINISHED = "inngest/function.finished"


def handler(of: str = "shop-ship", fn: str = "on-failure") -> dict[str, Any]:
    expression = f"event.data.function_id == '{of}'"
    return {"fn": fn, "retries": 0, "triggers": [{"event": FAILED, "expression": expression}]}


def a_shop(*functions: dict[str, Any], **config: Any) -> Scenario:
    s = Scenario(**config)
    s.sync(*(functions or ({"fn": "ship", "retries": 0},)))
    return s


def events(s: Scenario, name: str) -> list[PutEvent]:
    return [row for row in s.rows(PutEvent) if row.name == name]


# --- runs begin ---


def test_a_run_without_a_worker_is_scheduled() -> None:
    s = a_shop()
    s.send()
    (run,) = s.rows(PutRun)
    assert (run.status, run.started_at_ms) == (RunStatus.SCHEDULED, None)
    (live,) = s.rows(PutLive)
    assert (live.queued_score, live.wake_at_ms) == (START_MS, None)


def test_a_run_that_a_worker_has_at_once_is_written_once() -> None:
    s = a_shop()
    s.attach()
    s.send()
    (run,) = s.rows(PutRun)
    assert (run.status, run.started_at_ms) == (RunStatus.RUNNING, START_MS)
    assert len(s.rows(PutLive)) == 1
    assert s.rows(UpdateRun) == []


def test_a_scheduled_run_begins_when_a_worker_comes() -> None:
    s = a_shop()
    s.send()
    s.pass_ms(5_000)
    s.attach()
    (begun,) = s.rows(UpdateRun)
    assert (begun.status, begun.started_at_ms) == (RunStatus.RUNNING, START_MS + 5_000)


def test_the_event_names_the_runs_that_it_started() -> None:
    s = a_shop({"fn": "ship"}, {"fn": "bill"})
    s.send()
    (event,) = s.rows(PutEvent)
    assert event.runs == tuple(run.run_id for run in s.rows(PutRun))
    assert len(event.runs) == 2


def test_an_event_that_starts_nothing_is_stored() -> None:
    s = a_shop()
    s.send("order/lost", {"a": 1}, id="x", user={"u": 1}, v="3", ts=1_700_000_000_000)
    (event,) = s.rows(PutEvent)
    assert (event.name, event.data, event.external_id) == ("order/lost", b'{"a": 1}', "x")
    assert (event.user, event.v, event.ts_ms) == (b'{"u": 1}', "3", 1_700_000_000_000)
    assert event.runs == ()
    assert s.rows(PutDedup) == []


def test_an_event_without_a_time_has_that_of_its_arrival() -> None:
    s = a_shop()
    s.pass_ms(1_234)
    s.send()
    assert s.rows(PutEvent)[0].ts_ms == START_MS + 1_234


def test_the_first_call_knows_nothing_yet() -> None:
    s = a_shop({"fn": "ship", "retries": 2})
    s.attach()
    s.send()
    call = s.call
    assert (call.step_id, call.attempt, call.max_attempts, call.generation) == ("step", 0, 3, 1)
    assert (call.stack, call.current, call.version) == ((), 0, -1)
    assert (call.plan_only, call.use_api, call.job_no) == (False, False, 0)
    assert call.lease_until_ms == START_MS + 120_000
    assert (call.run_id, call.event_id) == (s.rows(PutRun)[0].run_id, s.rows(PutEvent)[0].event_id)


# --- one run for a producer's id ---


def test_an_id_starts_a_function_once() -> None:
    s = a_shop({"fn": "ship"}, {"fn": "bill"})
    s.send(id="order-1")
    s.send(id="order-1")
    assert len(s.rows(PutRun)) == 2, "one run of each function"
    assert len(s.rows(PutEvent)) == 2, "but every event is stored"
    assert s.rows(PutEvent)[1].runs == ()
    assert {row.expires_at_ms for row in s.rows(PutDedup)} == {START_MS + 86_400_000}


def test_an_id_starts_a_function_once_within_a_request() -> None:
    s = a_shop()
    event = {"name": "order/paid", "data": {}, "id": "order-1"}
    s.send_many(event, event, {**event, "id": "order-2"})
    assert len(s.rows(PutRun)) == 2
    assert len(s.accepted_ids) == 3


def test_an_id_starts_a_function_once_within_a_turn() -> None:
    s = a_shop()
    event = {"name": "order/paid", "data": {}, "id": "order-1"}
    s.step(s.events(event), s.events(event))
    assert len(s.rows(PutRun)) == 1


def test_an_id_counts_for_each_function_whatever_the_event() -> None:
    triggers = [{"event": "order/*"}]
    s = a_shop({"fn": "ship", "triggers": triggers}, {"fn": "bill"})
    s.send("order/packed", id="order-1")
    s.send("order/paid", id="order-1")
    assert [run.function_no for run in s.rows(PutRun)] == [1, 2]


def test_an_id_starts_again_after_a_day() -> None:
    s = a_shop()
    s.send(id="order-1")
    s.now_ms += 86_400_000 - 1
    s.send(id="order-1")
    assert len(s.rows(PutRun)) == 1
    s.now_ms += 1
    s.send(id="order-1")
    assert len(s.rows(PutRun)) == 2


def test_events_without_an_id_are_never_the_same() -> None:
    s = a_shop()
    s.send()
    s.send()
    assert len(s.rows(PutRun)) == 2


def test_a_repeated_request_stores_and_starts_nothing_but_is_answered() -> None:
    s = a_shop()
    s.send()
    ids = s.accepted_ids
    s.send_many({"name": "order/paid", "data": {}}, ids=ids)
    assert s.accepted_ids == ids
    assert s.last.writes == []


def test_a_request_of_which_a_part_is_known_starts_the_rest() -> None:
    s = a_shop()
    s.send()
    (known,) = s.accepted_ids
    new = type(known)(bytes(15) + b"n")
    event = {"name": "order/paid", "data": {}}
    s.send_many(event, event, ids=[known, new])
    assert len(s.rows(PutRun)) == 2
    assert s.accepted_ids == (known, new)


# --- runs end ---


def test_a_run_ends_with_its_result_and_is_forgotten() -> None:
    s = a_shop()
    s.attach()
    s.send()
    run_id = s.call.run_id
    s.pass_ms(10)
    s.reply(returned(5))
    (end,) = s.ends
    assert (end.run_id, end.output) == (run_id, b"5")
    assert (end.started_at_ms, end.ended_at_ms) == (START_MS, START_MS + 10)
    assert [row.run_id for row in s.rows(DeleteLive)] == [run_id]
    assert [e.run_id for e in s.last.effects if isinstance(e, RunEnded)] == [run_id]
    assert s.partition.runs == {}
    assert s.reader.count_live() == 0


def test_completion_is_told_by_one_event() -> None:
    s = a_shop()
    s.attach()
    s.send()
    s.reply(returned())
    (event,) = events(s, FINISHED)
    assert (event.source_run, event.external_id, event.data) == (s.call.run_id, None, b"")
    assert events(s, FAILED) == []


def test_failure_is_told_by_two_events_one_with_the_runs_id() -> None:
    s = a_shop()
    s.attach()
    s.send()
    s.reply(raised())
    assert [event.source_run for event in events(s, FINISHED)] == [s.call.run_id]
    (event,) = events(s, FAILED)
    assert event.external_id == ulid_text(s.call.run_id)


def test_a_failure_starts_the_handler_of_its_function_only() -> None:
    s = a_shop({"fn": "ship", "retries": 0}, handler(), handler("shop-bill", "other"))
    s.attach()
    s.send()
    s.reply(raised())
    assert [run.function_no for run in s.rows(PutRun)] == [1, 2]
    assert events(s, FAILED)[0].runs == (s.rows(PutRun)[1].run_id,)
    assert s.call.event_id == events(s, FAILED)[0].event_id


def test_a_completion_starts_no_failure_handler() -> None:
    s = a_shop({"fn": "ship"}, handler())
    s.attach()
    s.send()
    s.reply(returned())
    assert len(s.rows(PutRun)) == 1


@pytest.mark.parametrize("ends_by", [raised(), returned()], ids=["raised", "returned"])
def test_the_end_of_a_handler_is_told_to_nobody(ends_by: Any) -> None:
    s = a_shop({"fn": "ship", "retries": 0}, handler(), handler("shop-on-failure", "endless"))
    s.attach()
    s.send()
    s.reply(raised())
    s.reply(ends_by)
    assert [event.source_run for event in events(s, FINISHED)] == [s.rows(PutRun)[0].run_id]
    assert len(s.rows(PutRun)) == 2
    assert len(s.ends) == 2


def test_a_handler_may_have_steps_and_stays_quiet_over_a_restart() -> None:
    s = a_shop({"fn": "ship", "retries": 0}, handler())
    s.attach()
    s.send()
    s.reply(raised())
    s.restart()
    s.attach("c2")
    s.reply(ran("tell"))
    s.reply(returned())
    assert len(events(s, FINISHED)) == 1


def test_a_function_may_follow_every_end() -> None:
    s = a_shop({"fn": "ship"}, {"fn": "audit", "triggers": [{"event": FINISHED}]})
    s.attach()
    s.send()
    s.reply(returned())
    assert s.call.function_no == 2
    s.reply(returned())
    assert len(events(s, FINISHED)) == 1, "the end of what an end started is quiet"


def test_a_run_that_changed_often_in_a_turn_is_written_once() -> None:
    s = a_shop({"fn": "ship"}, {"fn": "bill"})
    s.attach()
    s.send()
    s.step(
        *(CallReported(ticket=0, request_id=call.request_id, outcome=ran("a")) for call in s.calls)
    )
    rows = [row for row in s.last.writes if isinstance(row, PutLive)]
    assert len(rows) == len({row.run_id for row in rows}) == 2
    assert len(s.rows(PutStep)) == 2


@pytest.mark.parametrize(
    ("expression", "starts"),
    [
        ("event.ts > 1000", True),
        ("event.ts > 1760000000000.0 + 5000.0", False),
        ("size(event.id) == 26", True),
        ("event.v == null", True),
        ("event.user == {}", True),
    ],
)
def test_a_condition_sees_what_the_server_fills_in(expression: str, starts: bool) -> None:
    s = Scenario()
    trigger = {"event": "order/paid", "expression": expression}
    s.sync({"id": "shop-ship", "triggers": [trigger]})

    s.send("order/paid")

    assert len(s.reader.runs(limit=2)) == starts


def test_a_run_of_a_future_event_begins_at_its_time() -> None:
    s = a_shop({"fn": "ship", "timeouts": {"start": "1m"}})
    s.attach()

    s.send("order/paid", ts=START_MS + 3_000)
    assert s.calls == []
    (run,) = s.reader.runs(limit=2)
    state = s.reader.live_state(run.run_id)
    assert state is not None
    waiting = s.partition.waiting(run.function_no, state)
    assert waiting is not None
    assert (waiting.reason, waiting.until_ms) == ("future_event", START_MS + 3_000)
    s.restart()
    s.attach()
    s.now_ms = START_MS + 2_999
    s.step()
    assert s.calls == []
    s.now_ms += 1
    s.step()
    (call,) = s.calls
    assert call.attempt == 0
    s.reply(returned(), call)
    assert s.reader.count_live() == 0


def test_a_run_of_an_event_of_next_year_is_on_disk_only() -> None:
    s = a_shop()
    s.attach()

    s.send("order/paid", ts=START_MS + 365 * 86_400_000)

    assert s.partition.runs == {}
    assert s.reader.count_live() == 1
    s.now_ms = START_MS + 365 * 86_400_000
    s.step()
    assert len(s.calls) == 1
