"""`RunComplete`: the function returned."""

from __future__ import annotations

import pytest

from stepwell.engine.rows import PutStep, RunStatus, UpdateRun
from tests.unit.engine.scenario import Scenario, op, ops, ran


def a_call() -> Scenario:
    s = Scenario()
    s.sync({})
    s.attach()
    s.send()
    return s


def test_it_completes_the_run_with_its_data() -> None:
    s = a_call()
    s.reply(ops(op("RunComplete", "complete", data={"a": 1})))
    end = s.rows(UpdateRun)[-1]
    assert (end.status, end.output) == (RunStatus.COMPLETED, b'{"a": 1}')
    assert s.partition.runs == {}


def test_steps_before_it_are_stored() -> None:
    s = a_call()
    s.reply(ops(op("StepRun", "a"), op("StepRun", "b"), op("RunComplete", "complete", data=7)))
    assert [row.position for row in s.rows(PutStep)] == [0, 1]
    assert s.rows(UpdateRun)[-1].output == b"7"
    assert len(s.calls) == 1


@pytest.mark.parametrize("kind", ["StepRun", "StepPlanned", "Sleep", "RunComplete"])
def test_what_comes_after_it_is_nothing(kind: str) -> None:
    s = a_call()
    s.reply(ops(op("RunComplete", "complete", data=1), op(kind, "late", name="1s", data=2)))
    assert s.rows(PutStep) == []
    assert [row.output for row in s.rows(UpdateRun)][-1:] == [b"1"]
    s.pass_ms(10_000)
    assert len(s.calls) == 1


def test_it_withdraws_what_still_runs() -> None:
    s = a_call()
    race = {"parallelMode": "race"}
    s.reply(
        ops(
            op("StepPlanned", "a", opts=race),
            op("StepPlanned", "b", opts=race),
            op("Sleep", "nap", name="1h", opts=race),
        )
    )
    s.reply(ran("a"), s.call_for("a"))
    s.reply(ops(op("RunComplete", "complete")))
    assert not s.reply(ran("b"), s.call_for("b"))
    assert len(s.partition.leases) == 0
    s.pass_ms(7_200_000)
    assert len(s.rows(PutStep)) == 1
