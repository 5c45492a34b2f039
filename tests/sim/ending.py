"""What must be true when nothing is left to happen: invariants 10 to 13, 18, 23 and 24."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.partition import Partition
from stepwell.engine.rows import HistoryKind, RunStatus
from stepwell.server.ids import SystemIds
from stepwell.server.loading import load_partition
from stepwell.server.payloads import memo
from stepwell.wire.ids import ulid_text
from stepwell.wire.lifecycle import (
    CANCELLED_EVENT,
    DEFERRED_EVENT,
    FAILED_EVENT,
    FINISHED_EVENT,
)
from tests.sim.calls import read_memo
from tests.sim.generated import NEWS, STOP
from tests.sim.invariants import check_end
from tests.sim.programs import Heed, bodies_without_faults, result, steps
from tests.sim.secret import KEPT_BYTES
from tests.sim.ticks import check_ticks

if TYPE_CHECKING:
    from stepwell.store.interface import EventRecord, RunRecord
    from tests.sim.programs import Program
    from tests.sim.world import World

_ALL = 100_000


def check_ending(world: World) -> None:
    """Check the numbered invariants of the end."""
    server = world.server
    rebuilt = Partition(world.config, SystemIds())
    load_partition(server.disk, rebuilt, server.now_ms())
    check_end(server.partition, rebuilt, server.reader)
    events = server.reader.events(include_internal=True, limit=_ALL)
    runs = server.reader.runs(limit=_ALL)
    _check_starts(world, events, runs)
    for run in runs:
        _check_result(world, run)
        world.waited.check_end(run.run_id)
    _check_lifecycle(world, events, runs)
    _check_deferred(world, events, runs)
    check_ticks(world, events)
    assert not server.unanswered, "11: whoever asked a server that lives is answered"
    if world.is_kind and world.disk != "stalling disk":
        world.count["nothing went wrong"] += 1
        for run in runs:
            _check_repeated(world, run)


def _check_starts(world: World, events: list[EventRecord], runs: list[RunRecord]) -> None:
    stored = Counter(event.name for event in events if event.name.startswith("sim/"))
    sent = Counter[str]()
    started = Counter[str]()
    for (name, _key), times in world.sent.items():
        sent[name] += times
        started[name] += 1
    assert stored == sent, "11: every event is stored once"
    names = {event.event_id: event.name for event in events}
    seen = Counter(names[run.event_id] for run in runs)
    for name, count in started.items():
        if name in (NEWS, STOP):
            assert not seen[name], f"11: {name} starts nothing"
            continue
        assert seen[name] == count, f"11: {name} started {seen[name]} runs, not {count}"


def _check_result(world: World, run: RunRecord) -> None:
    program = world.program(_slug(world, run))
    if run.status is RunStatus.CANCELLED:
        assert run.output is None, "12: a run that was cancelled came to nothing"
        return
    assert run.output is not None, "12: a run that is over has its output"
    output = msgspec.json.decode(run.output)
    if run.status is RunStatus.COMPLETED:
        assert not program.raises, "12: a function that raises does not complete"
        assert program.fails_with is None, "12: what cannot go on does not complete"
        stored = world.server.reader.steps(run.run_id)
        expected = result(program, read_memo({s.step_id: memo(s.kind, s.data) for s in stored}))
        assert output == expected, f"12: it came to {output}, not {expected}"
        return
    assert run.status is RunStatus.FAILED, "12: a run completes, fails, or is cancelled"
    world.count[f"run failed: {output['name']}"] += 1
    if output["message"].startswith("Signal conflict"):
        heeds = [step for step, _race in steps(program.nodes) if isinstance(step, Heed)]
        assert any(not step.replaces for step in heeds), "12: it waits for no signal"
        world.count["signal conflict"] += 1
        return
    assert _may_fail(world, run, program, output["name"]), f"12: it failed with {output}"


def _check_repeated(world: World, run: RunRecord) -> None:
    history = world.server.reader.history(run.run_id)
    lost = [row for row in history if row.kind is HistoryKind.CALL_LOST]
    assert not lost, "18: no call is lost while nothing goes wrong"
    allowed = bodies_without_faults(world.program(_slug(world, run)))
    for name, count in world.bodies.get(run.run_id, {}).items():
        assert count <= allowed[name], f"18: {name} ran {count} times"


def _may_fail(world: World, run: RunRecord, program: Program, name: str) -> bool:
    reader, config = world.server.reader, world.config
    match name:
        case "connect_worker_stopped_responding":
            history = reader.history(run.run_id)
            return sum(row.kind is HistoryKind.CALL_LOST for row in history) >= 3
        case "InngestErrFunctionOverflowed":
            return len(list(steps(program.nodes))) > config.steps_max
        case "InngestErrStateOverflowed":
            size = sum(len(step.data) for step in reader.steps(run.run_id))
            for row in reader.history(run.run_id):
                size += len(row.payload or b"")
                if row.kind in (HistoryKind.FETCH_STARTED, HistoryKind.INFER_STARTED):
                    size += KEPT_BYTES
            return size > config.state_bytes_max
        case "internal_error":
            return run.run_id in world.poison.values()
        case "Error":
            return program.raises or run.run_id in world.raised
        case _:
            return name == program.fails_with


def _check_lifecycle(world: World, events: list[EventRecord], runs: list[RunRecord]) -> None:
    told = Counter((event.name, event.source_run) for event in events if event.source_run)
    names = {event.event_id: event.name for event in events}
    expected: Counter[tuple[str, bytes | None]] = Counter()
    for run in runs:
        if names[run.event_id] in (FINISHED_EVENT, FAILED_EVENT):
            continue
        expected[FINISHED_EVENT, run.run_id] += 1
        if run.status is RunStatus.FAILED:
            expected[FAILED_EVENT, run.run_id] += 1
        if run.status is RunStatus.CANCELLED:
            expected[CANCELLED_EVENT, run.run_id] += 1
    assert told == expected, "13: each end has its events"
    slugs = {run.run_id: _slug(world, run) for run in runs}
    numbered = {run.run_id for run in runs if names[run.event_id].startswith("sim/")}
    for event in events:
        if event.source_run is None:
            continue
        of_program = slugs[event.source_run].startswith("sim-p")
        if event.name != FINISHED_EVENT:
            assert event.external_id == ulid_text(event.source_run), "13: its id is the run's"
        if event.name == FAILED_EVENT:
            assert len(event.runs) == of_program, "13: a failure starts its handler once"
            world.count["handler started"] += of_program
        if event.name == FINISHED_EVENT:
            asks = slugs[event.source_run] == "sim-p0" and event.source_run in numbered
            assert len(event.runs) == asks, "13: the end of a run starts who asks for it once"
            world.count["started by more than ids"] += asks


def _check_deferred(world: World, events: list[EventRecord], runs: list[RunRecord]) -> None:
    expected: Counter[str] = Counter()
    for run in runs:
        deferred: dict[str, None] = {}
        for row in world.server.reader.history(run.run_id):
            if row.kind is HistoryKind.DEFERRED:
                deferred[row.step_id or ""] = None
            if row.kind is HistoryKind.DEFER_WITHDRAWN:
                del deferred[row.step_id or ""]
        expected.update(f"{ulid_text(run.run_id)}-{step_id}" for step_id in deferred)
    begun = [event for event in events if event.name == DEFERRED_EVENT]
    seen = Counter(event.external_id for event in begun)
    assert seen == expected, "23: what a run deferred starts once"
    for event in begun:
        assert len(event.runs) == 1, "23: what a run deferred starts once"
        world.count["deferred function started"] += 1


def _slug(world: World, run: RunRecord) -> str:
    entry = world.server.partition.catalog.by_no(run.function_no)
    assert entry is not None, "a run is of a known function"
    return entry.slug
