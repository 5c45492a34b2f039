"""What follows from the end of a run: events, the run that invoked it, deferred functions.

Source: docs/reference/wire/events.md, "lifecycle events".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.errands import StartDeferred, TellParent
from stepwell.engine.rows import PutEvent, RunStatus
from stepwell.engine.starting import note_watched, receive_event
from stepwell.wire.ids import EventId, ulid_text
from stepwell.wire.lifecycle import CANCELLED_EVENT, FAILED_EVENT, FINISHED_EVENT

if TYPE_CHECKING:
    from stepwell.engine.state import Run
    from stepwell.engine.turn import Turn


def put_ending(turn: Turn, run: Run) -> None:
    """Store what a run that has just ended brings about. Its own rows are written."""
    state = run.state
    if state.parent is not None:
        parent, step_id = state.parent
        turn.put_errand(TellParent(parent, step_id, run.run_id))
    if state.defers:
        defers = tuple(
            (step_id, defer.function_slug, defer.seq) for step_id, defer in state.defers.items()
        )
        turn.put_errand(StartDeferred(run.run_id, defers))
    if state.quiet:
        return
    _put_lifecycle(turn, run, FINISHED_EVENT, None)
    if run.status is RunStatus.FAILED:
        _put_lifecycle(turn, run, FAILED_EVENT, ulid_text(run.run_id))
    elif run.status is RunStatus.CANCELLED and not state.after_cancelled:
        _put_lifecycle(turn, run, CANCELLED_EVENT, ulid_text(run.run_id))


def _put_lifecycle(turn: Turn, run: Run, name: str, external_id: str | None) -> None:
    catalog = turn.owner.catalog
    entry = catalog.by_no(run.function_no)
    assert entry is not None, "functions are archived, never deleted"
    row = PutEvent(
        event_id=EventId(turn.owner.ids.ulid(turn.now_ms)),
        name=name,
        ts_ms=turn.now_ms,
        data=b"",
        external_id=external_id,
        source_run=run.run_id,
    )
    if catalog.asks_more_than_ids(name):
        note_watched(turn, row.event_id, name, starts=True)
        turn.writes.append(row)
        return
    # What a trigger mostly asks of a lifecycle event: which function it was.
    data = {"function_id": entry.slug, "run_id": ulid_text(run.run_id)}
    receive_event(turn, row, event=lambda: {"name": name, "data": data})
