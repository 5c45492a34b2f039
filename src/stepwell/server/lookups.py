"""What inputs need from the store before they are decided on, and the errands that come as inputs.

A turn decides over memory alone. What an input says may concern runs that only the store has:
here they are found and loaded, all of it bounded, on the loop's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.errands import MatchEvent, StartDeferred, TellParent
from stepwell.engine.inputs import (
    ArrivedEvent,
    CallReported,
    CancelRequested,
    ChildEnded,
    DefersDue,
    EventMatched,
    EventsReceived,
    SignalSent,
    StepsCheckpointed,
)
from stepwell.engine.ops.wait_for_event import asks_for_own_event
from stepwell.engine.ops.wait_for_signal import signal_of
from stepwell.engine.rows import PutEvent, WatchKind
from stepwell.server.inbox import Sent
from stepwell.server.lifecycle import event_body
from stepwell.wire import ops as names
from stepwell.wire.outcomes import Ops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stepwell.engine.inputs import Input
    from stepwell.engine.partition import Partition
    from stepwell.server.inbox import Item
    from stepwell.server.payloads import Payloads
    from stepwell.store.interface import EventRecord, Reader, Store
    from stepwell.wire.ids import EventId, RunId

ERRANDS_PER_TURN = 200
WATCHES_PER_ERRAND = 500
"""An event may concern any number of runs: they are looked at so many a turn."""

WATCHES_PER_TURN = 1_000
"""Then the other errands wait for the next turn."""

BYTES_PER_TURN = 16 * 2**20
"""And then: of what they bring into memory and, as outcomes of steps, into the commit."""

_NEWEST = b"\xff" * 16
_WAITS = frozenset({names.WAIT_FOR_EVENT, names.WAIT_FOR_SIGNAL})


class Lookups:
    """Asks the store for what inputs need."""

    def __init__(self, store: Store, reader: Reader, payloads: Payloads) -> None:
        self._store = store
        self._reader = reader
        self._payloads = payloads

    def inputs(self, partition: Partition, items: Sequence[Item], now_ms: int) -> list[Input]:
        """The inputs of a turn, with what the store knows of each; the runs they name are loaded.

        Raises:
            StoreError: The store cannot be read.
        """
        inputs: list[Input] = []
        here: set[EventId] = set()
        for item in items:
            match item:
                case CallReported():
                    inputs.append(self._report(partition, item))
                case Sent():
                    inputs.append(self._events(partition, item, here, now_ms))
                case SignalSent():
                    found = self._signal(item.signal)
                    if found is not None:
                        self._load(partition, [found[1]], now_ms)
                    inputs.append(msgspec.structs.replace(item, found=found))
                case StepsCheckpointed() | CancelRequested():
                    self._load(partition, [item.run_id], now_ms)
                    inputs.append(item)
                case _:
                    inputs.append(item)
        return inputs

    def errands(self, partition: Partition, count: int, now_ms: int) -> list[Input]:
        """The next errands, as inputs. Raises like `inputs`."""
        inputs: list[Input] = []
        looked_at = size = 0
        for errand_id, errand in partition.errands.first(count):
            if looked_at >= WATCHES_PER_TURN or size >= BYTES_PER_TURN:
                break
            match errand:
                case MatchEvent():
                    matched = self._match(partition, errand_id, errand, now_ms)
                    inputs.append(matched)
                    looked_at += len(matched.found)
                    size += len(matched.event_json) * (1 + len(matched.found))
                    if matched.more:
                        break  # What a later event may end, this one may end first.
                case TellParent():
                    self._load(partition, [errand.parent], now_ms)
                    child = self._reader.run(errand.child)
                    size += len(child.output or b"") if child is not None else 0
                    inputs.append(
                        ChildEnded(
                            errand_id=errand_id,
                            parent=errand.parent,
                            step_id=errand.step_id,
                            status=None if child is None else child.status,
                            output=None if child is None else child.output,
                        )
                    )
                case StartDeferred():
                    due = self._deferred(errand_id, errand)
                    inputs.append(due)
                    size += sum(len(payload) for _step_id, payload in due.defers)
        return inputs

    # --- inputs ---

    def _events(
        self, partition: Partition, item: Sent, here: set[EventId], now_ms: int
    ) -> EventsReceived:
        known: set[EventId] = self._store.known_events(item.ids) if item.seeded else set()
        arrived = []
        for event_id, event in zip(item.ids, item.events, strict=True):
            seen = event_id in known or event_id in here
            here.add(event_id)
            arrived.append(ArrivedEvent(event_id=event_id, event=event, known=seen))
        keys = partition.dedup_keys(item.events, now_ms)
        started = self._store.known_dedups(keys, now_ms=now_ms) if keys else {}
        return EventsReceived(ticket=item.ticket, events=tuple(arrived), started=started)

    def _report(self, partition: Partition, item: CallReported) -> CallReported:
        outcome = item.outcome
        if not isinstance(outcome, Ops):
            return item
        for op in outcome.ops:  # the hot path: no generator
            if op.op in _WAITS:
                break
        else:
            return item
        event: Mapping[str, Any] | None = None
        signals: dict[str, tuple[bytes, RunId]] = {}
        for op in outcome.ops:
            if op.op == names.WAIT_FOR_SIGNAL:
                found = self._signal(signal_of(op))
                if found is not None:
                    signals[signal_of(op)] = found
            elif op.op == names.WAIT_FOR_EVENT and event is None and asks_for_own_event(op):
                run = partition.run_of(item.request_id)
                if run is not None:
                    payload = self._payloads.of_run(run.run_id, run.event_id)
                    event = msgspec.json.decode(payload.event)
        return msgspec.structs.replace(item, event=event, signals=signals)

    def _signal(self, signal: str) -> tuple[bytes, RunId] | None:
        found = self._store.find_watches(
            WatchKind.SIGNAL, signal, "", b"", after=b"", before=_NEWEST, limit=1
        )
        return found[0] if found else None

    # --- errands ---

    def _match(
        self, partition: Partition, errand_id: bytes, errand: MatchEvent, now_ms: int
    ) -> EventMatched:
        record = self._reader.event(errand.event_id)
        assert record is not None, "an errand is stored with its event"
        event_json = event_body(record, self._reader, partition.catalog)
        event = msgspec.json.decode(event_json)
        limit = min(WATCHES_PER_ERRAND, max(1, BYTES_PER_TURN // len(event_json)))
        found: list[tuple[bytes, RunId]] = []
        for path, value in partition.watch_places(event):
            found += self._store.find_watches(
                WatchKind.EVENT,
                record.name,
                path,
                value,
                after=errand.after,
                before=errand_id,  # what was watched for later does not count
                limit=limit,
            )
        found.sort()
        more = len(found) >= limit
        del found[limit:]
        self._load(partition, [run_id for _watch_id, run_id in found], now_ms)
        return EventMatched(
            errand_id=errand_id,
            event_id=errand.event_id,
            event=event,
            event_json=event_json,
            found=tuple(found),
            more=more,
            row=_row(record) if errand.starts and not errand.after else None,
        )

    def _deferred(self, errand_id: bytes, errand: StartDeferred) -> DefersDue:
        run = self._reader.run(errand.run_id)
        assert run is not None, "a run's row stays when the run is over"
        defers = []
        for step_id, _slug, seq in errand.defers:
            row = self._reader.history_row(errand.run_id, seq)
            assert row is not None, "what is deferred is told in the history"
            defers.append((step_id, row.payload or b"{}"))
        return DefersDue(
            errand_id=errand_id,
            run_id=errand.run_id,
            function_no=run.function_no,
            defers=tuple(defers),
        )

    def _load(self, partition: Partition, run_ids: Sequence[RunId], now_ms: int) -> None:
        missing = [run_id for run_id in run_ids if run_id not in partition.runs]
        if missing:
            partition.load(self._store.load_runs(missing), now_ms)


def _row(record: EventRecord) -> PutEvent:
    return PutEvent(
        event_id=record.event_id,
        name=record.name,
        ts_ms=record.ts_ms,
        data=record.data,
        external_id=record.external_id,
        source_run=record.source_run,
    )
