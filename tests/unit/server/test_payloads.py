"""What calls carry, from memory or from the store."""

from __future__ import annotations

from stepwell.engine.rows import PutStep, StepKind
from stepwell.server.payloads import Payloads
from stepwell.wire.ids import RunId
from tests.unit.engine.scenario import Scenario, ran, step_id


def test_a_call_without_steps_that_leaves_late_keeps_all_that_finished_meanwhile() -> None:
    scenario = Scenario()
    scenario.sync({"fn": "ship"})
    scenario.attach()
    scenario.send()
    first = scenario.call
    scenario.reply(ran("charge", 5))
    payloads = Payloads(scenario.reader, scenario.partition.catalog)
    late = payloads.of_run(first.run_id, first.event_id)
    assert late.event
    steps = payloads.of_run(scenario.call.run_id, scenario.call.event_id).steps
    charge = step_id("charge")
    assert steps == {charge: b'"%b":{"data":5}' % charge.encode()}


def test_a_step_is_added_to_what_is_kept() -> None:
    scenario = Scenario()
    scenario.sync({"fn": "ship"})
    scenario.attach()
    scenario.send()
    payloads = Payloads(scenario.reader, scenario.partition.catalog)
    run_id = RunId(scenario.call.run_id)
    payloads.put_new(run_id, b"{}")
    before = payloads.size_bytes
    payloads.put_step(
        PutStep(
            run_id=run_id,
            step_id="a",
            position=0,
            kind=StepKind.SLEEP,
            name="nap",
            data=b"null",
            attempt=0,
            started_at_ms=0,
            ended_at_ms=0,
        )
    )
    assert payloads.of_run(run_id, scenario.call.event_id).steps == {"a": b'"a":null'}
    assert payloads.size_bytes > before
    payloads.forget(run_id)
    assert payloads.size_bytes == 0
