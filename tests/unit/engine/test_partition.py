"""Turns of a partition: inputs in order, what is due, when to be woken, and bad news."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from stepwell.engine.effects import AppRegistered, Dispatch, Reply
from stepwell.engine.inputs import CallReported, RunPoisoned, WorkerGone
from stepwell.engine.partition import Partition
from stepwell.engine.rows import PutApp, PutFunction, PutHistory, PutLive, RunStatus
from stepwell.engine.state import Run
from stepwell.engine.turn import EngineConfig
from stepwell.wire.ids import RunId
from tests.unit.engine.scenario import START_MS, CountingIds, Scenario, op, ops, ran, returned


def a_call() -> Scenario:
    s = Scenario()
    s.sync({})
    s.attach()
    s.send()
    return s


if TYPE_CHECKING:
    from stepwell.engine.inputs import Input


def test_a_turn_without_anything_to_do_does_nothing() -> None:
    s = Scenario()
    transition = s.step()
    assert (transition.writes, transition.effects) == ([], [])


def test_inputs_are_decided_in_order_and_calls_given_out_at_the_end() -> None:
    s = a_call()
    event = s.events({"name": "order/paid", "data": {}})
    s.step(event, CallReported(ticket=99, request_id=s.call.request_id, outcome=returned()))
    kinds = [type(effect) for effect in s.last.effects]
    assert kinds.index(Reply) < kinds.index(Dispatch)
    assert [e.ticket for e in s.last.effects if isinstance(e, Reply)] == [event.ticket, 99]


def test_a_sync_is_answered_with_whether_it_changed_anything() -> None:
    s = Scenario()
    s.sync({})
    (first,) = s.replies(AppRegistered)
    assert len(s.rows(PutApp)) == len(s.rows(PutFunction)) == 1
    s.sync({})
    (second,) = s.replies(AppRegistered)
    assert (first.modified, second.modified) == (True, False)
    assert first.app_id == second.app_id
    assert s.last.writes == []


def test_a_worker_that_comes_takes_all_that_waits() -> None:
    s = Scenario()
    s.sync({})
    for _ in range(3):
        s.send()
    assert s.calls == []
    s.attach()
    assert len(s.calls) == 3
    assert len({call.request_id for call in s.calls}) == 3


def test_a_worker_that_drains_again_and_again_changes_no_attempt() -> None:
    s = Scenario()
    s.sync({})
    s.send()
    for number in range(10):
        s.attach(f"c{number}")
        s.detach(f"c{number}")
    s.attach()
    assert (s.call.attempt, s.call.generation) == (0, 11)
    assert s.rows(PutHistory) == []


def test_leaving_twice_is_leaving_once() -> None:
    s = a_call()
    s.detach()
    s.detach()
    s.gone()
    s.gone()
    s.detach("never seen")
    s.gone("never seen")
    s.attach("c2")
    assert len(s.calls) == 2


def test_it_asks_to_be_woken_for_whatever_is_due_first() -> None:
    s = Scenario(lease_ms=50_000)
    assert s.partition.next_wakeup_ms() == s.partition.horizon_ms
    s.sync({})
    s.attach()
    s.send()
    assert s.partition.next_wakeup_ms() == START_MS + 50_000
    s.reply(ops(op("Sleep", "nap", name="10s")))
    assert s.partition.next_wakeup_ms() == START_MS + 10_000


def test_being_woken_early_or_twice_does_nothing() -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name="10s")))
    s.now_ms += 9_999
    assert s.step().writes == []
    s.now_ms += 1
    assert s.step().writes != []
    assert s.step().writes == []


def test_time_that_stands_still_is_enough_to_go_on() -> None:
    s = a_call()
    s.reply(ran("a"))
    s.reply(ops(op("Sleep", "nap", name="0s")))
    s.reply(ops(op("StepPlanned", "b"), op("StepPlanned", "c")))
    s.reply(ran("b"), s.call_for("b"))
    s.reply(ran("c"), s.call_for("c"))
    s.reply(returned())
    assert s.now_ms == START_MS
    assert [end.status for end in s.ends] == [RunStatus.COMPLETED]


def test_a_jump_of_a_year_finds_all_that_was_due() -> None:
    s = a_call()
    s.reply(ops(op("Sleep", "nap", name="300d"), op("StepPlanned", "a")))
    s.now_ms += 366 * 86_400_000
    s.step()
    assert s.call.step_id == s.call_for("a").step_id, "its lease is over, another has it"
    s.reply(ran("a"))
    assert len(s.call.stack) == 2


def test_a_poisoned_run_fails_and_others_go_on() -> None:
    s = Scenario()
    s.sync({})
    s.attach()
    s.send()
    s.send()
    poisoned, healthy = s.calls
    s.step(RunPoisoned(run_id=poisoned.run_id, message="quarantined"))
    (end,) = s.ends
    assert end.run_id == poisoned.run_id
    assert end.output is not None
    assert msgspec.json.decode(end.output)["name"] == "internal_error"
    assert not s.reply(returned(), poisoned)
    assert s.reply(returned(), healthy)


def test_a_poisoned_run_that_is_over_is_left_alone() -> None:
    s = a_call()
    s.reply(returned())
    assert s.step(RunPoisoned(run_id=s.call.run_id, message="x")).writes == []
    assert s.step(RunPoisoned(run_id=RunId(b"?" * 16), message="x")).writes == []


@pytest.mark.parametrize("broken", ["report", "timer", "lease", "gone", "give out", "settle"])
def test_whoever_breaks_a_turn_is_known_by_its_run(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = Scenario()
    s.sync({})
    for connection in ("c1", "c2"):
        s.attach(connection, limit=1)
        s.send()
    s.send()
    good, bad = s.calls
    culprit, attribute = bad.run_id, "steps"
    report = CallReported(ticket=0, request_id=good.request_id, outcome=ran("a"))
    inputs: list[Input] = [report]
    match broken:
        case "report":
            inputs += [CallReported(ticket=0, request_id=bad.request_id, outcome=ran("a"))]
        case "timer":
            s.reply(ops(op("Sleep", "nap", name="1s")), bad)
            s.now_ms += 1_000
        case "lease":
            s.now_ms += 120_000
            attribute = "history_count"
        case "gone":
            inputs += [WorkerGone(connection_id="c2")]
            attribute = "history_count"
        case "give out":
            (culprit,) = set(s.partition.runs) - {good.run_id, bad.run_id}
            inputs = [msgspec.structs.replace(report, outcome=returned())]
        case "settle":
            inputs = [
                CallReported(ticket=0, request_id=call.request_id, outcome=ran("a"))
                for call in (bad, good)
            ]
            live_row = Run.live_row

            def broken_row(run: Run) -> PutLive:
                if run.run_id == culprit:
                    raise TypeError
                return live_row(run)

            monkeypatch.setattr(Run, "live_row", broken_row)
    if broken != "settle":
        monkeypatch.setattr(s.partition.runs[culprit], attribute, None)
    with pytest.raises(TypeError):
        s.partition.step(inputs, s.now_ms)
    assert s.partition.at_work == culprit


def test_an_input_without_a_run_is_not_blamed_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    s = a_call()
    report = CallReported(ticket=0, request_id=s.call.request_id, outcome=ran("a"))
    events = s.events({"name": "order/paid", "data": {}})
    monkeypatch.setattr(s.partition.catalog, "started_by", None)
    with pytest.raises(TypeError):
        s.partition.step([report, events], s.now_ms)
    assert s.partition.at_work is None


def test_nothing_is_decided_by_chance() -> None:
    def told() -> list[object]:
        s = Scenario(retry_interval_ms=None)
        s.sync({"fn": "ship"}, {"fn": "bill"})
        for name in ("c2", "c1", "c3"):
            s.attach(name, limit=2)
        for number in range(8):
            s.send(id=f"{number}")
        for call in list(s.calls):
            s.reply(ops(op("StepPlanned", "b"), op("StepPlanned", "a")), call)
        s.gone("c1")
        s.pass_ms(600_000)
        return [*s.writes, *s.calls]

    assert told() == told()


def test_an_empty_partition_needs_nothing() -> None:
    partition = Partition(EngineConfig(), CountingIds())
    assert partition.step([], START_MS).writes == []
    assert partition.wanted_queues() == []
