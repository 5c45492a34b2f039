"""What must be true when nothing is left to happen: invariants 10 to 13, and 18."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.partition import Partition
from stepwell.engine.rows import HistoryKind, RunStatus
from stepwell.server.ids import SystemIds
from stepwell.server.loading import load_partition
from stepwell.wire.ids import ulid_text
from stepwell.wire.lifecycle import FAILED_EVENT, FINISHED_EVENT
from tests.sim.invariants import check_end
from tests.sim.programs import HANDLER_SLUG_END, bodies_without_faults, result, steps

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
    _check_lifecycle(world, events, runs)
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
    seen = Counter(_slug(world, run).replace("sim-", "sim/") for run in runs)
    for name, count in started.items():
        assert seen[name] == count, f"11: {name} started {seen[name]} runs, not {count}"


def _check_result(world: World, run: RunRecord) -> None:
    program = world.program(_slug(world, run))
    assert run.output is not None, "12: a run that is over has its output"
    output = msgspec.json.decode(run.output)
    if run.status is RunStatus.COMPLETED:
        assert not program.raises, "12: a function that raises does not complete"
        assert program.fails_with is None, "12: what cannot go on does not complete"
        assert output == result(program), f"12: it came to {output}, not {result(program)}"
        return
    assert run.status is RunStatus.FAILED, "12: a run completes or fails"
    world.count[f"run failed: {output['name']}"] += 1
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
            return size > config.state_bytes_max
        case "internal_error":
            return run.run_id in world.poison.values()
        case "Error":
            return program.raises or run.run_id in world.raised
        case _:
            return name == program.fails_with


def _check_lifecycle(world: World, events: list[EventRecord], runs: list[RunRecord]) -> None:
    told = Counter((event.name, event.source_run) for event in events if event.source_run)
    handled = [event for event in events if event.name == FAILED_EVENT]
    expected: Counter[tuple[str, bytes | None]] = Counter()
    for run in runs:
        if _slug(world, run).endswith(HANDLER_SLUG_END):
            continue
        expected[FINISHED_EVENT, run.run_id] += 1
        if run.status is RunStatus.FAILED:
            expected[FAILED_EVENT, run.run_id] += 1
    assert told == expected, "13: each end has its events"
    for event in handled:
        assert event.source_run is not None, "13: a failure is a run's"
        assert event.external_id == ulid_text(event.source_run), "13: its id is the run's"
        assert len(event.runs) == 1, "13: a failure starts its handler once"
        world.count["handler started"] += 1


def _slug(world: World, run: RunRecord) -> str:
    entry = world.server.partition.catalog.by_no(run.function_no)
    assert entry is not None, "a run is of a known function"
    return entry.slug
