"""Steps that wait for an event: what ends the waiting, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.inputs import CallReported
from stepwell.engine.rows import (
    HistoryKind,
    PutErrand,
    PutHistory,
    PutWatch,
    RunStatus,
    StepKind,
)
from stepwell.server import lookups
from tests.unit.engine.scenario import START_MS, Scenario, op, ops, raised, ran, returned, step_id

HOUR_MS = 3_600_000


@pytest.fixture
def s() -> Scenario:
    scenario = Scenario()
    scenario.sync({"fn": "ship"})
    scenario.attach()
    return scenario


def wait(
    step: str = "paid", event: str = "order/paid", timeout: str = "1h", **opts: Any
) -> dict[str, Any]:
    return op("WaitForEvent", step, name=event, opts={"event": event, "timeout": timeout, **opts})


def start(s: Scenario, *waits: dict[str, Any], data: Any = None) -> None:
    """A run begins and waits."""
    s.send(data=data)
    s.reply(ops(*(waits or (wait(event="bank/booked"),))))


def booked(s: Scenario, data: Any = None) -> None:
    s.send("bank/booked", data)


def memo_of(s: Scenario, step: str) -> Any:
    return json.loads(s.step_row(step).data)


def test_the_event_is_the_steps_value_and_the_function_goes_on(s: Scenario) -> None:
    start(s)
    calls = len(s.calls)
    s.send("bank/booked", {"sum": 7}, id="b1", ts=START_MS)
    row = s.step_row("paid")
    assert (row.kind, row.position, row.started_at_ms) == (StepKind.EVENT, 0, s.now_ms)
    assert json.loads(row.data) == {
        "name": "bank/booked",
        "data": {"sum": 7},
        "id": "b1",
        "ts": START_MS,
        "user": {},
    }
    assert len(s.calls) == calls + 1
    assert s.call.stack == (step_id("paid"),)
    s.reply(returned("end"))
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_the_history_tells_what_is_waited_for(s: Scenario) -> None:
    start(s, wait(event="bank/booked", **{"if": "async.data.id == event.data.id"}), data={"id": 7})
    (row,) = s.rows(PutHistory)
    assert row.kind is HistoryKind.WAIT_STARTED
    assert row.name == "paid"
    assert json.loads(row.payload or b"") == {
        "event": "bank/booked",
        "if": "async.data.id == 7",
        "until": "2025-10-09T09:53:20.000Z",
    }


def test_other_names_do_not_match(s: Scenario) -> None:
    start(s)
    for name in ("bank/booked.late", "bank", "order/paid"):
        s.send(name)
    assert not s.has_step("paid")


def test_time_runs_out(s: Scenario) -> None:
    start(s)
    s.pass_ms(HOUR_MS - 1)
    assert not s.has_step("paid")
    s.pass_ms(1)
    assert (s.step_row("paid").kind, s.step_row("paid").data) == (StepKind.EVENT, b"null")
    booked(s)
    s.reply(returned())
    assert len(s.ends) == 1


def test_no_timeout_means_that_no_time_is_left(s: Scenario) -> None:
    start(s, wait(event="bank/booked", timeout=""))
    assert memo_of(s, "paid") is None


def test_the_first_event_wins(s: Scenario) -> None:
    start(s)
    s.send_many(
        {"name": "bank/booked", "data": {"n": 1}}, {"name": "bank/booked", "data": {"n": 2}}
    )
    booked(s, {"n": 3})
    assert memo_of(s, "paid")["data"] == {"n": 1}


def test_an_event_that_came_before_the_wait_does_not_count(s: Scenario) -> None:
    s.send()
    booked(s)
    s.reply(ops(wait(event="bank/booked")))
    assert not s.has_step("paid")


def test_events_of_the_turn_in_which_the_waiting_begins(s: Scenario) -> None:
    """The order of the inputs decides."""
    s.send()
    first = s.call
    report = CallReported(
        ticket=s.ticket(),
        request_id=first.request_id,
        outcome=ops(wait(event="bank/booked")),
    )
    s.step(
        s.events({"name": "bank/booked", "data": {"n": 1}}),
        report,
        s.events({"name": "bank/booked", "data": {"n": 2}}),
    )
    assert memo_of(s, "paid")["data"] == {"n": 2}


def test_a_runs_own_trigger_does_not_end_its_wait_but_another_one_of_the_name_does(
    s: Scenario,
) -> None:
    start(s, wait())
    first = s.call.run_id
    assert not s.has_step("paid")
    s.send(data={"n": 2})
    assert json.loads(s.step_row("paid", first).data)["data"] == {"n": 2}


@pytest.mark.parametrize(
    ("condition", "data", "matches"),
    [
        ("async.data.id == event.data.id", {"id": "x"}, True),
        ("event.data.id == async.data.id", {"id": "x"}, True),
        ("async.data.id == event.data.id", {"id": "y"}, False),
        ("async.data.id == event.data.id", {}, False),
        ("async.data.n > event.data.n", {"n": 8}, True),
        ("async.data.n > event.data.n", {"n": 7}, False),
        ("async.data.id == event.data.id && async.data.n == 1", {"id": "x", "n": 1}, True),
        ("async.data.id == event.data.id && async.data.n == 1", {"id": "x", "n": 2}, False),
        ("async.data.id == event.data.none", {}, False),
        ("event.data.none == async.data.none", {}, False),
        ("async.data.list.exists(each, each == event.data.n)", {"list": [1, 7]}, True),
        ("false", {}, False),
    ],
)
def test_conditions(s: Scenario, condition: str, data: Any, matches: bool) -> None:
    start(s, wait(event="bank/booked", **{"if": condition}), data={"id": "x", "n": 7})
    booked(s, data)
    assert s.has_step("paid") is matches
    s.pass_ms(HOUR_MS)
    assert s.has_step("paid")


def test_an_event_finds_only_the_runs_that_wait_for_its_value(
    s: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition = {"if": "async.data.id == event.data.id"}
    for number in range(20):
        start(s, wait(event="bank/booked", **condition), data={"id": number})
    asked: list[int] = []
    find = s.store.find_watches

    def counted(*key: Any, **page: Any) -> Any:
        found = find(*key, **page)
        asked.append(len(found))
        return found

    monkeypatch.setattr(s.store, "find_watches", counted)
    booked(s, {"id": 11})
    assert sum(asked) == 1
    assert memo_of(s, "paid")["data"] == {"id": 11}


def test_several_waits_of_one_run_on_one_event(s: Scenario) -> None:
    start(
        s,
        wait("a", event="bank/booked"),
        wait("b", event="bank/booked"),
        wait("c", event="bank/booked", **{"if": "async.data.n == 2"}),
    )
    booked(s, {"n": 1})
    assert [s.has_step(name) for name in "abc"] == [True, True, False]
    assert not s.call.stack
    booked(s, {"n": 2})
    assert s.has_step("c")
    s.reply(returned())
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_a_wait_beside_a_step(s: Scenario) -> None:
    start(s, wait(event="bank/booked"), op("StepPlanned", "pack"))
    booked(s)
    s.reply(ran("pack"), s.call_for("pack"))
    assert s.call.stack == (step_id("paid"), step_id("pack"))


def test_a_race_goes_on_with_the_event(s: Scenario) -> None:
    race = {"parallelMode": "race"}
    start(s, wait(event="bank/booked", **race), op("StepPlanned", "pack", opts=race))
    booked(s)
    assert s.call.stack == (step_id("paid"),)


def test_a_report_that_comes_again_begins_no_second_wait(s: Scenario) -> None:
    start(s, op("StepPlanned", "a"), wait(event="bank/booked"))
    s.reply(ops(op("StepRun", "a"), wait(event="bank/booked")), s.call_for("a"))
    assert len(s.rows(PutWatch)) == 1
    booked(s)
    s.reply(ops(op("StepRun", "x"), wait(event="bank/booked")))
    assert len(s.rows(PutWatch)) == 1


def test_one_event_ends_the_waits_of_many_runs_a_page_at_a_time(
    s: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "WATCHES_PER_ERRAND", 3)
    other = {"if": "async.data.kind == 'gift'"}
    for number in range(10):
        start(s, wait(event="bank/booked", **(other if number % 2 else {})))
    errands = len(s.rows(PutErrand))
    booked(s, {"kind": "gift"})
    assert sum(row.kind is StepKind.EVENT for row in s.rows(type(s.step_row("paid")))) == 10
    assert len(s.rows(PutErrand)) == errands + 4
    assert s.store.scan_errands(after=b"", limit=9) == []


def test_a_restart_between_two_pages(s: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "WATCHES_PER_ERRAND", 1)
    for _ in range(3):
        start(s)
    s._turn(s.lookups.inputs(s.partition, [s.events({"name": "bank/booked", "data": {}})], 0))
    while s.partition.errands:
        s.restart()
        s.attach()
        s._turn(s.lookups.errands(s.partition, 1, s.now_ms))
    assert len({call.run_id for call in s.calls if call.stack}) == 3


def test_a_wait_for_the_end_of_a_run(s: Scenario) -> None:
    s.sync({"fn": "ship"}, {"fn": "bill", "triggers": [{"event": "bill"}]})
    s.attach()
    condition = {"if": "async.data.function_id == 'shop-bill' && async.data.result == 7"}
    start(s, wait(event="inngest/function.finished", **condition))
    for value in (6, 7):
        s.send("bill")
        assert not s.has_step("paid")
        s.reply(returned(value))
    assert memo_of(s, "paid")["data"]["result"] == 7


def test_a_run_that_waits_for_long_is_not_in_memory(s: Scenario) -> None:
    start(s)
    run_id = s.call.run_id
    assert run_id not in s.partition.runs
    s.restart()
    assert run_id not in s.partition.runs
    s.attach()
    booked(s)
    assert s.call.stack == (step_id("paid"),)


def test_a_run_that_an_event_does_not_concern_leaves_memory_again(s: Scenario) -> None:
    start(s, wait(event="bank/booked", **{"if": "async.data.n > 7"}))
    booked(s, {"n": 1})
    assert s.call.run_id not in s.partition.runs


def test_of_several_events_in_one_turn_each_is_looked_at(s: Scenario) -> None:
    start(s, wait(event="bank/booked", **{"if": "async.data.n > 7"}))
    s.send_many(
        {"name": "bank/booked", "data": {"n": 1}}, {"name": "bank/booked", "data": {"n": 8}}
    )
    assert memo_of(s, "paid")["data"] == {"n": 8}


def test_an_event_that_came_in_time_counts_though_the_disk_is_slow(s: Scenario) -> None:
    start(s, wait(event="bank/booked", timeout="1s"))
    s.now_ms += 999
    s._turn([s.events({"name": "bank/booked", "data": {}})])
    s.now_ms += 500
    s.step()
    assert memo_of(s, "paid") is not None


@pytest.mark.parametrize(
    ("opts", "name", "words"),
    [
        ({"timeout": "soon"}, "InngestErrInvalidTimeout", "soon"),
        ({"timeout": "367d"}, "InngestErrTimeoutTooLong", "more than one year"),
        ({"timeout": "1h", "if": "async.data.x ="}, "InvalidExpression", "async.data.x ="),
        ({"timeout": "1h", "if": "nobody.data == 1"}, "InvalidExpression", "nobody"),
        ({"timeout": 7}, "InvalidOptions", "timeout"),
    ],
)
def test_a_wait_that_means_nothing_fails_the_run_at_once(
    s: Scenario, opts: Any, name: str, words: str
) -> None:
    s.send()
    s.reply(ops(op("WaitForEvent", "paid", name="x", opts=opts)))
    (end,) = s.ends
    error = json.loads(end.output or b"")
    assert (end.status, error["name"]) == (RunStatus.FAILED, name)
    assert words in error["message"]


def test_the_name_of_the_op_is_the_event_if_the_options_name_none(s: Scenario) -> None:
    start(s, op("WaitForEvent", "paid", name="bank/booked", opts={"timeout": "1h"}))
    booked(s)
    assert s.has_step("paid")


def test_the_end_of_a_run_ends_its_waits(s: Scenario) -> None:
    start(s, wait(event="bank/booked"), op("StepPlanned", "a"))
    s.reply(raised(no_retry=True), s.call_for("a"))
    assert s.ends[-1].status is RunStatus.FAILED
    assert not s.partition.watches.has("bank/booked")
    booked(s)
    assert s.store.scan_errands(after=b"", limit=1) == []


def test_a_wait_goes_on_over_a_restart_and_ends_in_time(s: Scenario) -> None:
    start(s)
    s.pass_ms(HOUR_MS // 2)
    s.restart()
    s.attach()
    s.pass_ms(HOUR_MS // 2 - 1)
    assert not s.has_step("paid")
    s.pass_ms(1)
    assert s.has_step("paid")


def test_of_two_events_the_first_one_wins_though_it_has_many_pages(
    s: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "WATCHES_PER_ERRAND", 1)
    for _ in range(2):
        start(s, wait(event="bank/booked", **{"if": "async.data.n == 1"}))
    start(s, wait(event="bank/booked", **{"if": "async.data.n > 0"}))
    last = s.call.run_id
    s.send_many(*[{"name": "bank/booked", "data": {"n": n}} for n in (1, 2)])
    assert json.loads(s.step_row("paid", last).data)["data"] == {"n": 1}
