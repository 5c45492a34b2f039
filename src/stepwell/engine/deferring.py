"""Functions that a run defers until it is over.

A defer that makes no sense is left out, and the run goes on: nothing waits for it.
Source: docs/reference/wire/waits.md, "DeferAdd and DeferAbort".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.rows import HistoryKind, PutEvent
from stepwell.engine.starting import receive_event
from stepwell.engine.state import Defer
from stepwell.wire.ids import EventId, ulid_text
from stepwell.wire.lifecycle import DEFERRED_EVENT

if TYPE_CHECKING:
    from stepwell.engine.inputs import DefersDue
    from stepwell.engine.state import Run
    from stepwell.engine.turn import Turn

DEFERS_MAX = 20
DEFER_BYTES_MAX = 4 * 2**20
"""Of one input, and of all inputs of a run together."""


class Deferral(msgspec.Struct, frozen=True, kw_only=True):
    """What to start, and what it gets."""

    fn_slug: str
    input: dict[str, msgspec.Raw] = {}


DEFERRAL = msgspec.json.Decoder(Deferral)


def add_defer(turn: Turn, run: Run, *, step_id: str, name: str, deferral: Deferral) -> None:
    """Remember it. One that is too much is left out."""
    defers = run.state.defers
    if step_id in defers or len(defers) >= DEFERS_MAX:
        return
    payload = msgspec.json.encode(deferral)
    if sum(defer.bytes for defer in defers.values()) + len(payload) > DEFER_BYTES_MAX:
        return
    seq = run.history_count
    turn.put_history(run, HistoryKind.DEFERRED, step_id, 0, payload, name=name)
    defers[step_id] = Defer(function_slug=deferral.fn_slug, seq=seq, bytes=len(payload))
    turn.change(run)


def withdraw_defer(turn: Turn, run: Run, step_id: str) -> None:
    """Forget it again."""
    if run.state.defers.pop(step_id, None) is not None:
        turn.put_history(run, HistoryKind.DEFER_WITHDRAWN, step_id, 0, None)
        turn.change(run)


def start_deferred(turn: Turn, item: DefersDue) -> None:
    """The run is over: its deferred functions begin."""
    catalog = turn.owner.catalog
    parent = catalog.by_no(item.function_no)
    assert parent is not None, "functions are archived, never deleted"
    for step_id, payload in item.defers:
        deferral = DEFERRAL.decode(payload)
        about = {
            "fn_slug": deferral.fn_slug,
            "parent_app_id": parent.app_name,
            "parent_fn_id": parent.function_id,
            "parent_fn_slug": parent.slug,
            "parent_run_id": ulid_text(item.run_id),
        }
        data = msgspec.json.encode(
            {**deferral.input, "_inngest": msgspec.Raw(msgspec.json.encode(about))}
        )
        row = PutEvent(
            event_id=EventId(turn.owner.ids.ulid(turn.now_ms)),
            name=DEFERRED_EVENT,
            ts_ms=turn.now_ms,
            data=data,
            external_id=f"{ulid_text(item.run_id)}-{step_id}",
        )
        event = {
            "name": row.name,
            "id": row.external_id,
            "ts": row.ts_ms,
            "data": msgspec.json.decode(data),
            "user": {},
        }
        receive_event(turn, row, event=lambda event=event: event)  # type: ignore[misc]
    turn.writes.append(turn.owner.errands.done(item.errand_id))
