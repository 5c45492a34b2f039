"""Functions that a run defers: they begin when it is over, however it ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine import deferring
from stepwell.engine.inputs import CallReported
from stepwell.engine.rows import HistoryKind, PutEvent, PutHistory, RunStatus
from stepwell.wire.ids import ulid_text
from tests.unit.engine.scenario import Scenario, op, ops, raised, ran, returned, step_id


@pytest.fixture
def s() -> Scenario:
    scenario = Scenario()
    expression = "event.data._inngest.fn_slug == 'shop-tidy'"
    scenario.sync(
        {"fn": "ship"},
        {
            "fn": "tidy",
            "triggers": [{"event": "inngest/deferred.schedule", "expression": expression}],
        },
    )
    scenario.attach()
    return scenario


def defer(step: str = "later", slug: str = "shop-tidy", **given: Any) -> dict[str, Any]:
    return op("DeferAdd", step, opts={"fn_slug": slug, "input": given})


def abort(step: str = "later") -> dict[str, Any]:
    return op("DeferAbort", "abort", opts={"target_hashed_id": step_id(step)})


def deferred(s: Scenario) -> list[Any]:
    """What the events of deferred functions say, without what we put there."""
    return [
        {key: value for key, value in json.loads(row.data).items() if key != "_inngest"}
        for row in s.rows(PutEvent)
        if row.name == "inngest/deferred.schedule"
    ]


def test_it_begins_when_the_run_is_over(s: Scenario) -> None:
    s.send()
    parent = s.call.run_id
    s.reply(ops(op("StepRun", "a"), defer(n=1)))
    assert s.call.defers == (step_id("later"),)
    assert deferred(s) == []
    s.reply(returned())
    assert deferred(s) == [{"n": 1}]
    row = next(row for row in s.rows(PutEvent) if row.name == "inngest/deferred.schedule")
    assert row.external_id == f"{ulid_text(parent)}-{step_id('later')}"
    assert json.loads(row.data)["_inngest"] == {
        "fn_slug": "shop-tidy",
        "parent_app_id": "shop",
        "parent_fn_id": s.partition.catalog.all_functions[0].function_id,
        "parent_fn_slug": "shop-ship",
        "parent_run_id": ulid_text(parent),
    }
    assert (s.call.run_id, s.call.function_no) == (row.runs[0], 2)


@pytest.mark.parametrize("end", ["fails", "cancelled"])
def test_it_begins_however_the_run_ends(s: Scenario, end: str) -> None:
    s.send()
    s.reply(ops(op("StepRun", "a"), defer()))
    if end == "fails":
        s.reply(raised(no_retry=True))
    else:
        s.cancel()
    assert deferred(s) == [{}]
    assert s.call.function_no == 2


def test_the_last_report_may_defer(s: Scenario) -> None:
    s.send()
    s.reply(ops(defer(n=1), op("RunComplete", "end", data=1)))
    assert s.ends[0].status is RunStatus.COMPLETED
    assert deferred(s) == [{"n": 1}]


def test_what_is_withdrawn_does_not_begin(s: Scenario) -> None:
    s.send()
    s.reply(ops(op("StepRun", "a"), defer("one", n=1), defer("two", n=2)))
    s.reply(ops(op("StepRun", "b"), abort("one"), abort("none")))
    assert s.call.defers == (step_id("two"),)
    s.reply(returned())
    assert deferred(s) == [{"n": 2}]
    kinds = [row.kind for row in s.rows(PutHistory)]
    assert kinds == [HistoryKind.DEFERRED] * 2 + [HistoryKind.DEFER_WITHDRAWN]


def test_the_same_step_defers_once(s: Scenario) -> None:
    s.send()
    s.reply(ops(op("StepRun", "a"), defer(n=1), defer(n=2)))
    s.reply(ops(op("StepRun", "b"), defer(n=3)))
    s.reply(returned())
    assert deferred(s) == [{"n": 1}]


def test_it_is_no_step(s: Scenario) -> None:
    s.send()
    s.reply(ops(defer()))
    assert not s.call.stack
    s.reply(ran("a"))
    assert s.call.stack == (step_id("a"),)


def test_as_many_as_there_may_be(s: Scenario) -> None:
    s.send()
    s.reply(ops(op("StepRun", "a"), *[defer(f"d{n}", n=n) for n in range(25)]))
    s.reply(returned())
    assert deferred(s) == [{"n": n} for n in range(deferring.DEFERS_MAX)]


def test_as_many_bytes_as_there_may_be(s: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferring, "DEFER_BYTES_MAX", 200)
    s.send()
    big = {"text": "x" * 100}
    s.reply(ops(op("StepRun", "a"), defer("one", **big), defer("two", **big), defer("three")))
    s.reply(returned())
    assert deferred(s) == [big, {}]


@pytest.mark.parametrize("opts", [None, {}, {"fn_slug": 1}, {"fn_slug": "a", "input": [1]}, 7])
def test_one_that_makes_no_sense_is_left_out(s: Scenario, opts: Any) -> None:
    s.send()
    s.reply(ops(op("StepRun", "a"), op("DeferAdd", "later", opts=opts), op("DeferAbort", "x")))
    s.reply(returned())
    assert deferred(s) == []
    assert s.ends[-1].status is RunStatus.COMPLETED


def test_a_function_that_is_not_there_begins_not(s: Scenario) -> None:
    s.send()
    s.reply(ops(op("StepRun", "a"), defer(slug="shop-none")))
    calls = len(s.calls)
    s.reply(returned())
    assert len(deferred(s)) == 1
    assert len(s.calls) == calls


def test_a_restart_at_any_point(s: Scenario) -> None:
    s.send()
    s.reply(ops(op("StepRun", "a"), defer(n=1)))
    s.restart()
    s.attach()
    s._turn([CallReported(ticket=0, request_id=s.call.request_id, outcome=returned())])
    assert deferred(s) == []
    s.restart()
    s.attach()
    s.step()
    s.restart()
    s.attach()
    s.step()
    assert deferred(s) == [{"n": 1}]
