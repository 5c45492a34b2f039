"""A worker's report: the fence, failures of the whole call, and responses of many ops."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stepwell.engine.inputs import CallReported
from stepwell.engine.rows import HistoryKind, PutHistory, PutStep, RunStatus, StepKind
from stepwell.wire.ids import RequestId
from stepwell.wire.outcomes import Raised
from tests.unit.engine.scenario import Scenario, op, ops, raised, ran, returned, step_id


def a_call(retries: int = 2, **config: Any) -> Scenario:
    s = Scenario(**config)
    s.sync({"fn": "ship", "retries": retries})
    s.attach()
    s.send()
    return s


# --- the fence ---


def test_a_report_is_answered_with_its_ticket() -> None:
    s = a_call()
    assert s.reply(returned({"a": 1}))
    (end,) = s.ends
    assert (end.status, end.output) == (RunStatus.COMPLETED, b'{"a": 1}')


def test_the_same_report_again_is_refused_and_changes_nothing() -> None:
    s = a_call()
    first = s.call
    assert s.reply(ran("a"))
    assert not s.reply(ran("a"), first)
    assert s.last.writes == []
    assert len(s.last.effects) == 1


def test_two_reports_of_one_call_in_one_turn_are_one() -> None:
    s = a_call()
    report = s.call.request_id
    s.step(
        CallReported(ticket=7, request_id=report, outcome=ran("a", "first")),
        CallReported(ticket=8, request_id=report, outcome=ran("a", "second")),
    )
    assert [row.data for row in s.rows(PutStep)] == [b'"first"']
    replies = [(e.ticket, e.result.accepted) for e in s.last.effects if hasattr(e, "ticket")]  # type: ignore[union-attr]
    assert replies == [(7, True), (8, False)]


def test_a_report_of_an_unknown_call_changes_nothing() -> None:
    s = a_call()
    assert not s.reply_to(RequestId(b"?" * 16), returned())
    assert s.last.writes == []


def test_a_report_needs_no_acknowledgement_before_it() -> None:
    s = a_call()
    assert s.reply(returned())


# --- the whole call fails ---


def test_a_function_that_raises_is_called_again() -> None:
    s = a_call()
    s.reply(raised("boom"))
    (row,) = s.rows(PutHistory)
    assert (row.kind, row.step_id, row.attempt) == (HistoryKind.ATTEMPT_FAILED, "step", 0)
    s.pass_ms(999)
    assert len(s.calls) == 1
    s.pass_ms(1)
    assert (s.call.attempt, s.call.max_attempts) == (1, 3)


def test_the_last_attempt_that_raises_fails_the_run() -> None:
    s = a_call(retries=1)
    s.reply(raised("one"))
    s.pass_ms(1_000)
    s.reply(raised("two"))
    (end,) = s.ends
    assert end.status is RunStatus.FAILED
    assert end.output is not None
    assert msgspec.json.decode(end.output)["message"] == "two"


def test_a_function_without_retries_has_one_attempt() -> None:
    s = a_call(retries=0)
    s.reply(raised())
    assert [end.status for end in s.ends] == [RunStatus.FAILED]


def test_a_forbidden_retry_fails_the_run_at_once() -> None:
    s = a_call()
    s.reply(raised(no_retry=True))
    assert [end.status for end in s.ends] == [RunStatus.FAILED]


def test_a_fatal_failure_ends_the_run_whatever_attempts_are_left() -> None:
    s = a_call()
    s.reply(Raised(error=b"{}", no_retry=False, retry_at_ms=None, fatal=True))
    assert [end.status for end in s.ends] == [RunStatus.FAILED]


def test_a_function_may_say_when_to_call_it_again() -> None:
    s = a_call()
    s.reply(raised(retry_at_ms=s.now_ms + 7_200_000))
    s.pass_ms(7_199_999)
    assert len(s.calls) == 1
    s.pass_ms(1)
    assert s.call.attempt == 1


def test_attempts_of_a_call_are_not_those_of_the_next() -> None:
    s = a_call()
    s.reply(raised())
    s.pass_ms(1_000)
    s.reply(ran("a"))
    assert s.call.attempt == 0
    s.reply(raised())
    s.pass_ms(1_000)
    assert s.call.attempt == 1
    s.reply(returned())
    assert [end.status for end in s.ends] == [RunStatus.COMPLETED]


def test_parallel_calls_have_attempts_of_their_own() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")))
    s.reply(raised(), s.call_for("a"))
    s.reply(ops(op("StepError", "b", error={})), s.call_for("b"))
    s.pass_ms(1_000)
    s.reply(raised(), s.call_for("a"))
    s.pass_ms(1_000)
    assert (s.call_for("a").attempt, s.call_for("b").attempt) == (2, 1)


def test_twenty_one_attempts_are_the_most() -> None:
    s = a_call(retries=99)
    while not s.ends:
        s.reply(raised())
        s.pass_ms(1_000)
    assert len(s.calls) == s.call.max_attempts == 21


def test_a_function_that_returns_on_a_targeted_call_completes_the_run() -> None:
    s = a_call()
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")))
    s.reply(returned("early"), s.call_for("a"))
    assert [end.output for end in s.ends] == [b'"early"']
    assert not s.reply(ran("b"), s.call_for("b"))


# --- responses of many ops ---


def test_an_unknown_op_fails_the_run_and_names_itself() -> None:
    s = a_call()
    s.reply(ops(op("StepRun", "a"), op("Teleport", "b"), op("StepRun", "c")))
    (end,) = s.ends
    assert end.output is not None
    error = msgspec.json.decode(end.output)
    assert error["name"] == "InngestErrUnsupportedOpcode"
    assert "Teleport" in error["message"]
    assert [row.name for row in s.rows(PutStep)] == ["a"]


def test_ops_of_every_kind_in_one_response_are_each_done() -> None:
    s = a_call()
    s.reply(
        ops(
            op("StepRun", "ran", data=1),
            op("Step", "legacy", data=2),
            op("StepFailed", "failed", error={"name": "E"}),
            op("StepPlanned", "planned"),
            op("Sleep", "nap", name="2s"),
            {"op": "None"},
        )
    )
    kinds = [StepKind.RUN, StepKind.LEGACY, StepKind.FAILED]
    assert [row.kind for row in s.rows(PutStep)] == kinds
    assert [call.step_id for call in s.calls[1:]] == [step_id("planned")]
    s.reply(ran("planned"))
    s.pass_ms(2_000)
    names = ("ran", "legacy", "failed", "planned", "nap")
    assert s.call.stack == tuple(step_id(name) for name in names)
    assert (s.call.step_id, s.call.plan_only) == ("step", False)
    assert len(s.calls) == 3


@pytest.mark.parametrize("first", ["StepPlanned", "Sleep", "StepRun", "StepFailed", "StepError"])
@pytest.mark.parametrize("second", ["StepPlanned", "Sleep", "StepRun", "StepFailed", "StepError"])
def test_two_ops_about_one_step_finish_it_once_and_strand_nothing(first: str, second: str) -> None:
    s = a_call()
    s.reply(ops(op(first, "a", name="1s"), op(second, "a", name="1s")))
    for _ in range(20):
        if len(s.partition.leases):
            s.reply(returned() if s.call.step_id == "step" and s.call.stack else ran("a"))
        s.pass_ms(1_000)
    assert [row.name for row in s.rows(PutStep)] == ["a"]
    assert [end.status for end in s.ends] == [RunStatus.COMPLETED]


@pytest.mark.parametrize("width", [100, 1_000])
def test_a_step_that_is_planned_among_many_is_found_without_looking_at_all(width: int) -> None:
    s = a_call()
    s.attach(limit=10_000)
    names = [f"s{number}" for number in range(width)]
    s.reply(
        ops(*[op("StepPlanned", name) for name in (*names[: width // 2], *names[: width // 2])])
    )
    s.pass_ms(0)  # so many are given out in several turns
    assert len(s.calls) == 1 + width // 2


def test_a_failure_beside_one_for_good_keeps_its_attempts() -> None:
    s = a_call()
    s.reply(ops(op("StepError", "a", error={}), op("StepFailed", "b", error={})))
    s.pass_ms(60_000)

    assert s.call_for("a").attempt == 1


# --- limits ---


def test_as_many_steps_as_are_allowed_are_allowed() -> None:
    s = a_call(steps_max=3)
    s.reply(ops(op("StepRun", "a"), op("StepRun", "b")))
    s.reply(ran("c"))
    s.reply(returned())
    assert [end.status for end in s.ends] == [RunStatus.COMPLETED]


@pytest.mark.parametrize(
    "report",
    [
        ran("d"),
        ops(op("StepPlanned", "d")),
        ops(op("StepPlanned", "d"), op("StepPlanned", "e")),
        ops(op("Sleep", "d", name="0s")),
        ops(op("Sleep", "d", name="1h")),
        ops(op("StepRun", "d"), op("StepError", "e", error={})),
    ],
    ids=["run", "plan", "plans", "short sleep", "long sleep", "run and error"],
)
def test_one_step_too_many_fails_the_run(report: Any) -> None:
    s = a_call(steps_max=3)
    s.reply(ops(*[op("StepRun", name) for name in "abc"]))
    s.reply(report)
    (end,) = s.ends
    assert end.output is not None
    error = msgspec.json.decode(end.output)
    assert error["name"] == "InngestErrFunctionOverflowed"
    assert "3 steps" in error["message"]
    assert s.partition.runs == {}


def test_a_function_that_returns_with_its_last_step_may() -> None:
    s = a_call(steps_max=1)
    s.reply(ops(op("StepRun", "a"), op("RunComplete", "complete")))
    assert [end.status for end in s.ends] == [RunStatus.COMPLETED]


def test_the_default_is_a_thousand_steps() -> None:
    s = a_call()
    names = [f"s{number}" for number in range(1_000)]
    s.reply(ops(*[op("StepRun", name) for name in names]))
    assert not s.ends
    s.reply(ran("one more"))
    assert [end.status for end in s.ends] == [RunStatus.FAILED]


def test_too_much_step_data_fails_the_run() -> None:
    s = a_call(state_bytes_max=100)
    s.reply(ran("a", "x" * 98))
    assert not s.ends
    s.reply(ran("b", None))
    (end,) = s.ends
    assert end.output is not None
    assert msgspec.json.decode(end.output)["name"] == "InngestErrStateOverflowed"
