"""Waits under load and under hostile programs: what must not be missed, and what must not grow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine import waits
from stepwell.engine.effects import SignalTaken
from stepwell.engine.errands import MatchEvent
from stepwell.engine.inputs import CallReported, CancelRequested
from stepwell.engine.rows import PutErrand, PutEvent, PutStep, RunStatus, StepKind
from stepwell.engine.state import decode_state
from stepwell.server import lookups
from stepwell.wire.events import NAME_CHARS_MAX
from stepwell.wire.ops import parse_ops
from stepwell.wire.outcomes import Ops
from tests.unit.engine.scenario import Scenario, op, ops, raised, ran, returned

HOUR_MS = 3_600_000


@pytest.fixture
def s() -> Scenario:
    scenario = Scenario()
    scenario.sync({"fn": "ship"})
    scenario.attach()
    return scenario


def wait(step: str = "packed", event: str = "order/packed", **opts: Any) -> dict[str, Any]:
    return op("WaitForEvent", step, opts={"event": event, "timeout": "1h", **opts})


def signal(step: str = "told", name: str = "go", **opts: Any) -> dict[str, Any]:
    return op("WaitForSignal", step, opts={"signal": name, "timeout": "1h", **opts})


def start(s: Scenario, *reported: dict[str, Any]) -> None:
    s.send()
    s.reply(ops(*reported))


def one_turn(s: Scenario, *, errands: int = 10) -> None:
    """One turn with at most so many errands, unlike `step`, which does all that are left."""
    s._turn(s.lookups.errands(s.partition, errands, s.now_ms))


def arrive(s: Scenario, *names: str) -> None:
    """Events arrive; nobody has looked yet at who waits for them."""
    s._turn([s.events(*({"name": name, "data": {}} for name in names))])


# --- an event that came in time is not missed ---


def test_an_event_that_came_in_time_ends_the_wait_however_late_it_is_looked_at(
    s: Scenario,
) -> None:
    start(s, wait())
    s.now_ms += HOUR_MS - 1
    arrive(s, "order/packed")
    s.now_ms += 1_000
    one_turn(s, errands=0)  # others come first; the wait's time is over by now
    assert not s.has_step("packed")
    s.step()
    (row,) = s.rows(PutStep)
    assert row.kind is StepKind.EVENT
    assert json.loads(row.data)["name"] == "order/packed"


def test_an_event_that_came_too_late_does_not_hold_up_the_timeout(s: Scenario) -> None:
    start(s, wait())
    s.now_ms += HOUR_MS
    s._turn([s.events({"name": "order/packed", "data": {}})])
    (row,) = s.rows(PutStep)
    assert row.data == b"null"
    s.step()
    assert not s.partition.errands


def test_a_restart_between_changes_nothing_of_that(s: Scenario) -> None:
    start(s, wait())
    s.now_ms += HOUR_MS - 1
    arrive(s, "order/packed")
    s.now_ms += 1_000
    s.restart()
    one_turn(s, errands=0)
    s.step()
    (row,) = s.rows(PutStep)
    assert json.loads(row.data)["name"] == "order/packed"


# --- conditions that take long ---


def test_conditions_of_one_turn_take_so_much_work(
    s: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "CONDITION_WORK_MAX", 1)
    start(s, *(wait(f"w{n}", **{"if": f"async.data.n > {n}"}) for n in range(4)))
    fits, fits_not = ({"name": "order/packed", "data": {"n": n}} for n in (9, 0))
    s._turn([s.events(fits, fits_not)])
    seen = []
    while s.partition.errands:
        one_turn(s)
        seen.append(len(s.rows(PutStep)))
    assert seen[:4] == [1, 2, 3, 4]
    assert all(json.loads(row.data)["data"] == {"n": 9} for row in s.rows(PutStep))


def test_a_lifecycle_event_that_must_wait_starts_its_functions_once(
    s: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "CONDITION_WORK_MAX", 1)
    condition = "event.data.result.n == 1"
    s.sync(
        {"fn": "ship"},
        {
            "fn": "tidy",
            "triggers": [{"event": "inngest/function.finished", "expression": condition}],
        },
    )
    s.attach()
    opts = {"if": "async.data.x == 1 || async.data.y == 2"}
    start(s, *(wait(f"w{n}", "inngest/function.finished", **opts) for n in range(3)))
    s.send()
    s.reply(returned({"n": 1}))
    s.step()
    assert not s.partition.errands
    tidy = s.partition.catalog.named("shop-tidy")
    assert tidy is not None
    assert [call.function_no for call in s.calls].count(tidy.no) == 1


# --- what one turn brings into memory ---


def test_a_turn_stores_so_many_bytes_of_events_as_outcomes(
    s: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "BYTES_PER_TURN", 2_500)
    start(s, *(wait(f"w{n}") for n in range(5)))
    s._turn([s.events({"name": "order/packed", "data": {"text": "x" * 1_000}})])
    counts = []
    while s.partition.errands:
        before = len(s.rows(PutStep))
        one_turn(s)
        counts.append(len(s.rows(PutStep)) - before)
    assert [count for count in counts if count] == [2, 2, 1]


def test_a_turn_reads_so_many_bytes_of_results(
    s: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "BYTES_PER_TURN", 1_000)
    s.sync({"fn": "ship"}, {"fn": "pack", "triggers": [{"event": "no/such"}]})
    s.attach()
    start(s, *(op("InvokeFunction", f"i{n}", opts={"function_id": "shop-pack"}) for n in range(3)))
    children = s.calls[-3:]
    s._turn(
        [
            CallReported(ticket=s.ticket(), request_id=call.request_id, outcome=returned("x" * 900))
            for call in children
        ]
    )
    assert len(s.lookups.errands(s.partition, 10, s.now_ms)) == 2
    s.step()
    assert len([row for row in s.rows(PutStep) if row.kind is StepKind.INVOKE]) == 3


# --- signals ---


@pytest.mark.parametrize("conflict", ["fail", "replace"])
def test_a_signal_is_free_when_its_waiter_was_cancelled_in_the_same_turn(
    s: Scenario, conflict: str
) -> None:
    start(s, signal())
    first = s.call.run_id
    s.send()
    second = s.call
    s.step(
        CancelRequested(ticket=s.ticket(), run_id=first),
        CallReported(
            ticket=s.ticket(),
            request_id=second.request_id,
            outcome=ops(signal(conflict=conflict)),
        ),
    )
    assert [end.status for end in s.ends] == [RunStatus.CANCELLED]
    assert s.signal() == second.run_id


def test_two_signals_in_one_turn_reach_one_run_once(s: Scenario) -> None:
    start(s, signal())
    run_id = s.call.run_id
    s.step(s.signal_input(), s.signal_input())
    assert [taken.run_id for taken in s.replies(SignalTaken)] == [run_id, None]


# --- names that nobody has ---


def test_a_name_that_no_event_has_is_not_kept(s: Scenario) -> None:
    start(s, wait(event="x" * (NAME_CHARS_MAX + 1)))
    assert s.ends[-1].status is RunStatus.FAILED
    assert not s.partition.watches.has("x" * (NAME_CHARS_MAX + 1))


def test_a_signal_has_a_name_of_some_length(s: Scenario) -> None:
    start(s, signal(name="x" * 100_000))
    assert s.ends[-1].status is RunStatus.FAILED


def test_the_name_of_a_function_that_is_not_there_is_cut(s: Scenario) -> None:
    start(s, op("InvokeFunction", "call", opts={"function_id": "x" * 100_000}))
    (row,) = s.rows(PutStep)
    assert row.kind is StepKind.FAILED
    assert len(row.data) < 2_000


# --- payloads that nobody can read ---


def unreadable(kind: str, opts: dict[str, Any]) -> Ops:
    text = json.dumps([op(kind, "call", opts=opts)]).replace('"?"', "1e999")
    return Ops(ops=parse_ops(text.encode()), no_retry=False, retry_at_ms=None, version=2)


def test_a_payload_with_a_number_that_no_double_holds_starts_nothing(s: Scenario) -> None:
    s.send()
    s.reply(
        unreadable("InvokeFunction", {"function_id": "shop-ship", "payload": {"data": {"n": "?"}}})
    )
    assert s.ends[-1].status is RunStatus.FAILED
    assert len([row for row in s.rows(PutEvent) if row.name == "inngest/function.invoked"]) == 0


def test_an_input_with_such_a_number_is_left_out(s: Scenario) -> None:
    s.send()
    s.reply(unreadable("DeferAdd", {"fn_slug": "later", "input": {"n": "?"}}))
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED
    assert [row for row in s.rows(PutEvent) if row.name == "inngest/deferred.schedule"] == []


# --- runs that are cancelled for ever ---


def test_a_run_that_a_cancellation_started_starts_nothing_when_it_is_cancelled(
    s: Scenario,
) -> None:
    s.sync({"fn": "ship"}, {"fn": "tidy", "triggers": [{"event": "inngest/*"}]})
    s.attach()
    s.send()
    for _ in range(3):
        s.cancel()
    names = [row.name for row in s.rows(PutEvent)]
    assert names.count("inngest/function.cancelled") == 1


def test_a_failure_after_a_cancellation_is_told(s: Scenario) -> None:
    s.sync(
        {"fn": "ship"},
        {"fn": "tidy", "triggers": [{"event": "inngest/function.cancelled"}], "retries": 0},
    )
    s.attach()
    s.send()
    s.cancel()
    s.reply(raised(no_retry=True))
    names = [row.name for row in s.rows(PutEvent)]
    assert names.count("inngest/function.failed") == 1


# --- runs that were looked at for nothing ---


def test_a_refused_checkpoint_leaves_no_run_in_memory(s: Scenario) -> None:
    start(s, op("Sleep", "long", name="30d"))
    assert s.checkpoint(op("Sleep", "x", name="1h")) == "op_not_allowed"
    assert not s.partition.runs


# --- requests ---


def test_the_requests_of_a_run_that_failed_are_withdrawn(s: Scenario) -> None:
    fetch = op("Gateway", "get", opts={"url": "http://a"})
    start(s, fetch, op("NoSuchOp", "x"))
    assert s.ends[-1].status is RunStatus.FAILED
    assert s.withdrawn == [request.request_id for request in s.requests]


def test_the_requests_of_a_run_that_returned_are_withdrawn(s: Scenario) -> None:
    race = {"parallelMode": "race"}
    fetch = op("Gateway", "get", opts={"url": "http://a", **race})
    start(s, fetch, op("StepPlanned", "a", opts=race))
    s.reply(ran("a"), s.call_for("a"))
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED
    assert s.withdrawn == [request.request_id for request in s.requests]


# --- errands after a restart ---


def test_a_page_of_watches_goes_on_after_a_restart(
    s: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "CONDITION_WORK_MAX", 1)
    start(s, *(wait(f"w{n}", **{"if": "async.data.n > 1"}) for n in range(3)))
    s._turn([s.events({"name": "order/packed", "data": {"n": 9}})])
    one_turn(s)
    assert isinstance(next(iter(s.partition.errands.first(1)))[1], MatchEvent)
    assert s.rows(PutErrand)
    s.restart()
    s.attach()
    s.step()
    assert len(s.rows(PutStep)) == 3


@pytest.mark.parametrize("what", ["request", "app"])
def test_what_this_server_lets_lie_every_time_comes_to_an_end(what: str) -> None:
    s = Scenario()
    s.sync({"fn": "ship", "retries": 1})
    s.attach(instance="http://a:80" if what == "app" else None)
    s.send()
    if what == "request":
        s.reply(ops(op("Gateway", "get", opts={"url": "http://a"})))
    s.pass_ms(10 * s.config.lease_ms)
    assert [end.status for end in s.ends] == [RunStatus.FAILED]


def test_a_request_of_a_step_that_was_reported_meanwhile_brings_nothing(s: Scenario) -> None:
    start(s, {"op": "Gateway", "id": "step", "opts": {}}, op("StepPlanned", "a"))
    s.reply(ops({"op": "StepRun", "id": "step", "data": 1}, op("StepRun", "a")), s.call_for("a"))
    s.request_ends(data=2)
    assert [row.data for row in s.rows(PutStep) if row.step_id == "step"] == [b"1"]


KINDS = [
    wait("a"),
    signal("a"),
    op("Sleep", "a", name="1h"),
    op("Gateway", "a", opts={"url": "http://a"}),
    op("InvokeFunction", "a", opts={"function_id": "shop-ship"}),
    op("StepPlanned", "a"),
]


@pytest.mark.parametrize("first", KINDS, ids=lambda each: each["op"])
@pytest.mark.parametrize("second", KINDS, ids=lambda each: each["op"])
def test_a_step_waits_for_one_thing(s: Scenario, first: Any, second: Any) -> None:
    start(s, first, second)
    (image,) = s.store.load_runs([s.calls[0].run_id])
    state = decode_state(image.state)
    assert len([*state.jobs, *state.waits, *state.sleeps]) == 1
