"""What must be true when nothing is left to happen: invariants 10 to 13."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.partition import Partition
from stepwell.engine.rows import HistoryKind, RunStatus
from stepwell.server.loading import load_partition
from stepwell.wire.ids import ulid_text
from stepwell.wire.lifecycle import FAILED_EVENT, FINISHED_EVENT
from tests.sim.invariants import check_end
from tests.sim.programs import HANDLER_SLUG_END, result, steps

if TYPE_CHECKING:
    from stepwell.store.interface import EventRecord, RunRecord
    from tests.sim.world import World

_ALL = 100_000


def check_ending(world: World) -> None:
    """Check the numbered invariants of the end."""
    server = world.server
    rebuilt = Partition(world.config, server.ids)
    load_partition(server.store, rebuilt, world.now_ms)
    check_end(server.partition, rebuilt, server.reader)
    events = server.reader.events(include_internal=True, limit=_ALL)
    runs = server.reader.runs(limit=_ALL)
    _check_starts(world, events, runs)
    for run in runs:
        _check_result(world, run)
    _check_lifecycle(world, events, runs)


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
    program = world.program(run.function_no)
    assert run.output is not None, "12: a run that is over has its output"
    output = msgspec.json.decode(run.output)
    if run.status is RunStatus.COMPLETED:
        assert not program.raises, "12: a function that raises does not complete"
        assert output == result(program), f"12: it came to {output}, not {result(program)}"
        return
    assert run.status is RunStatus.FAILED, "12: a run completes or fails"
    world.count[f"run failed: {output['name']}"] += 1
    if output["name"] == "connect_worker_stopped_responding":
        history = world.server.reader.history(run.run_id)
        losses = sum(row.kind is HistoryKind.CALL_LOST for row in history)
        assert losses >= 3, "12: the worker was lost three times"
    elif output["name"] == "InngestErrFunctionOverflowed":
        assert len(list(steps(program.nodes))) > world.config.steps_max, "12: it has too many steps"
    else:
        assert program.raises, f"12: nothing in it fails, yet it failed with {output}"


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
