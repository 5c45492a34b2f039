"""Rows in memory: the disk of the simulation, and `stepwell dev --in-memory`.

It keeps exactly what was committed, for as long as the object lives; `close` loses nothing, so a
simulated restart opens nothing anew and goes on with the same store.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, TypeAlias, TypeVar, assert_never

import msgspec

from stepwell.engine.rows import (
    DeleteErrand,
    DeleteLive,
    DeleteRequestSecrets,
    DeleteRoute,
    DeleteSchedule,
    DeleteTransport,
    DeleteWatch,
    PutApp,
    PutDedup,
    PutErrand,
    PutEvent,
    PutFunction,
    PutHistory,
    PutLive,
    PutQuarantine,
    PutRequestSecrets,
    PutRoute,
    PutRun,
    PutSchedule,
    PutStep,
    PutTransport,
    PutWatch,
    PutWorker,
    Row,
    RunImage,
    SetEventRuns,
    StepRef,
    TrimWorkers,
    UpdateRun,
    WatchKind,
)
from stepwell.store.interface import (
    LISTED_OUTPUT_BYTES_MAX,
    EventRecord,
    HistoryRecord,
    RunRecord,
    StepRecord,
    WorkerRecord,
)
from stepwell.wire.ids import EventId, RunId, ulid_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from stepwell.engine.rows import RunStatus, Write

_Place: TypeAlias = "tuple[int, RunId]"
_WatchPlace: TypeAlias = tuple[int, str, str, bytes]

_IdT = TypeVar("_IdT", bound=bytes)

_INTERNAL = "inngest/"


class MemoryStore:
    """A store without a disk. See `interface.Store` for what each method promises."""

    def __init__(self) -> None:
        # Held while a commit runs in the committer's thread and a reader reads in another one.
        self._lock = threading.Lock()
        self._rows = _Rows()

    def commit(self, writes: Sequence[Write]) -> None:
        with self._lock:
            self._rows.check(writes)
            for write in writes:
                self._rows.apply(write)

    def load_catalog(self) -> tuple[list[PutApp], list[PutFunction]]:
        rows = self._rows
        return (
            [rows.apps[name] for name in sorted(rows.apps)],
            [rows.functions[no] for no in sorted(rows.functions)],
        )

    def load_runs(self, run_ids: Sequence[RunId]) -> list[RunImage]:
        images = (self._rows.image(run_id) for run_id in run_ids)
        return [image for image in images if image is not None]

    def scan_queued(self, function_no: int, *, after: _Place | None, limit: int) -> list[RunImage]:
        places = self._rows.queued.get(function_no, [])
        return self._page(places, after, len(places), limit)

    def scan_due(self, *, until_ms: int, after: _Place | None, limit: int) -> list[RunImage]:
        places = self._rows.due
        end = bisect_left(places, until_ms + 1, key=lambda place: place[0])
        return self._page(places, after, end, limit)

    def queued_functions(self) -> list[int]:
        return sorted(no for no, places in self._rows.queued.items() if places)

    def next_wake_ms(self, *, after_ms: int) -> int | None:
        due = self._rows.due
        index = bisect_right(due, after_ms, key=lambda place: place[0])
        return due[index][0] if index < len(due) else None

    def known_events(self, event_ids: Collection[EventId]) -> set[EventId]:
        return {event_id for event_id in event_ids if event_id in self._rows.events}

    def known_dedups(
        self, keys: Collection[tuple[int, str]], *, now_ms: int
    ) -> dict[tuple[int, str], RunId]:
        found = ((key, self._rows.dedups.get(key)) for key in keys)
        return {
            key: dedup.run_id
            for key, dedup in found
            if dedup is not None and dedup.expires_at_ms > now_ms
        }

    def load_watched(self) -> list[tuple[str, str, int, bytes]]:
        watched: dict[tuple[str, str], list[bytes]] = {}
        for (kind, subject, path, _value), watches in self._rows.watches.items():
            if kind == WatchKind.EVENT:
                watched.setdefault((subject, path), []).extend(watches)
        return [
            (subject, path, len(ids), max(ids)) for (subject, path), ids in sorted(watched.items())
        ]

    def find_watches(
        self,
        kind: WatchKind,
        subject: str,
        path: str,
        value: bytes,
        *,
        after: bytes,
        before: bytes,
        limit: int,
    ) -> list[tuple[bytes, RunId]]:
        watches = self._rows.watches.get((kind, subject, path, value), {})
        found = sorted(item for item in watches.items() if after < item[0] < before)
        return found[:limit]

    def scan_errands(self, *, after: bytes, limit: int) -> list[PutErrand]:
        errands = self._rows.errands
        return [errands[errand_id] for errand_id in sorted(errands) if errand_id > after][:limit]

    def load_schedules(self) -> list[PutSchedule]:
        schedules = self._rows.schedules
        return [schedules[key] for key in sorted(schedules)]

    def load_transports(self) -> list[PutTransport]:
        transports = self._rows.transports
        return [transports[key] for key in sorted(transports)]

    def load_routes(self) -> list[PutRoute]:
        routes = self._rows.routes
        return [routes[key] for key in sorted(routes)]

    def delete_expired_dedups(self, *, now_ms: int, limit: int) -> int:
        with self._lock:
            dedups = self._rows.dedups
            expired = sorted(
                (dedup.expires_at_ms, key)
                for key, dedup in dedups.items()
                if dedup.expires_at_ms <= now_ms
            )[:limit]
            for _expires_at_ms, key in expired:
                del dedups[key]
            return len(expired)

    def count_stranded(self) -> int:
        return sum(
            live.queued_score is None and live.wake_at_ms is None
            for live in self._rows.live.values()
        )

    def reader(self) -> MemoryReader:
        return MemoryReader(self._rows, self._lock)

    def idle(self) -> None:
        """There is nothing to tidy up."""

    def close(self) -> None:
        """There is nothing to release, and the rows stay."""

    def _page(
        self, places: list[_Place], after: _Place | None, end: int, limit: int
    ) -> list[RunImage]:
        """Up to `limit` images of the runs at the places behind `after` and before `end`."""
        images: list[RunImage] = []
        index = 0 if after is None else bisect_right(places, after)
        while index < end and len(images) < limit:
            image = self._rows.image(places[index][1])
            if image is not None:
                images.append(image)
            index += 1
        return images


class MemoryReader:
    """Reads what is committed. See `interface.Reader` for what each method promises."""

    def __init__(self, rows: _Rows, lock: threading.Lock) -> None:
        self._rows = rows
        self._lock = lock

    def event(self, event_id: EventId) -> EventRecord | None:
        row = self._rows.events.get(event_id)
        return None if row is None else _event_record(row)

    def events(
        self,
        *,
        before: EventId | None = None,
        received_after_ms: int | None = None,
        received_before_ms: int | None = None,
        name: str | None = None,
        include_internal: bool = False,
        limit: int,
    ) -> list[EventRecord]:
        found: list[EventRecord] = []
        with self._lock:
            ids = self._rows.event_ids
            for event_id in _slice(ids, None, before, received_after_ms, received_before_ms, True):
                if len(found) >= limit:
                    break
                row = self._rows.events[event_id]
                if row.name.startswith(_INTERNAL) and not include_internal:
                    continue
                if name is None or row.name == name:
                    found.append(_event_record(row))
        return found

    def count_events(
        self,
        *,
        received_after_ms: int | None = None,
        received_before_ms: int | None = None,
        name: str | None = None,
        include_internal: bool = False,
        most: int,
    ) -> int:
        listed = self.events(
            received_after_ms=received_after_ms,
            received_before_ms=received_before_ms,
            name=name,
            include_internal=include_internal,
            limit=most,
        )
        return len(listed)

    def run(self, run_id: RunId) -> RunRecord | None:
        return self._rows.runs.get(run_id)

    def runs(
        self,
        *,
        before: RunId | None = None,
        after: RunId | None = None,
        queued_from_ms: int | None = None,
        queued_until_ms: int | None = None,
        statuses: Collection[RunStatus] = (),
        function_nos: Collection[int] | None = None,
        newest_first: bool = True,
        limit: int,
    ) -> list[RunRecord]:
        found: list[RunRecord] = []
        with self._lock:
            ids = self._rows.run_ids
            for run_id in _slice(ids, after, before, queued_from_ms, queued_until_ms, newest_first):
                if len(found) >= limit:
                    break
                run = self._rows.runs[run_id]
                if statuses and run.status not in statuses:
                    continue
                if function_nos is None or run.function_no in function_nos:
                    found.append(_listed(run))
        return found

    def count_runs(
        self,
        *,
        queued_from_ms: int | None = None,
        queued_until_ms: int | None = None,
        statuses: Collection[RunStatus] = (),
        function_nos: Collection[int] | None = None,
        most: int,
    ) -> int:
        listed = self.runs(
            queued_from_ms=queued_from_ms,
            queued_until_ms=queued_until_ms,
            statuses=statuses,
            function_nos=function_nos,
            limit=most,
        )
        return len(listed)

    def steps(self, run_id: RunId) -> list[StepRecord]:
        with self._lock:
            steps = list(self._rows.steps.get(run_id, {}).values())
        return sorted(steps, key=lambda step: step.position)

    def history(self, run_id: RunId) -> list[HistoryRecord]:
        with self._lock:
            history = list(self._rows.history.get(run_id, {}).values())
        return sorted(history, key=lambda row: row.seq)

    def history_row(self, run_id: RunId, seq: int) -> HistoryRecord | None:
        return self._rows.history.get(run_id, {}).get(seq)

    def request_secrets(self, run_id: RunId, seq: int) -> bytes | None:
        return self._rows.secrets.get((run_id, seq))

    def live_state(self, run_id: RunId) -> bytes | None:
        live = self._rows.live.get(run_id)
        return None if live is None else live.state

    def quarantined(self, *, limit: int) -> list[PutQuarantine]:
        return self._rows.quarantine[::-1][:limit]

    def count_live(self) -> int:
        return len(self._rows.live)

    def worker(self, connection_id: bytes) -> WorkerRecord | None:
        row = self._rows.workers.get(connection_id)
        return None if row is None else _worker_record(row)

    def ended_workers(
        self,
        *,
        before: bytes | None = None,
        app_name: str | None = None,
        instance_id: str | None = None,
        limit: int,
    ) -> list[WorkerRecord]:
        with self._lock:
            rows = sorted(
                self._rows.workers.values(), key=lambda row: row.connection_id, reverse=True
            )
        found = [
            _worker_record(row)
            for row in rows
            if row.ended_at_ms is not None
            and (before is None or row.connection_id < before)
            and (app_name is None or app_name in row.app_names)
            and (instance_id is None or row.instance_id == instance_id)
        ]
        return found[:limit]

    def open_workers(self, *, limit: int) -> list[WorkerRecord]:
        with self._lock:
            rows = sorted(self._rows.workers.values(), key=lambda row: row.connection_id)
        return [_worker_record(row) for row in rows if row.ended_at_ms is None][:limit]

    def close(self) -> None:
        """There is nothing to release."""


class _Rows:
    """The tables, and the orders in which they are read."""

    def __init__(self) -> None:
        self.apps: dict[str, PutApp] = {}
        self.functions: dict[int, PutFunction] = {}
        self.events: dict[EventId, PutEvent] = {}
        self.event_ids: list[EventId] = []  # in order
        self.runs: dict[RunId, RunRecord] = {}
        self.run_ids: list[RunId] = []  # in order
        self.live: dict[RunId, PutLive] = {}
        self.queued: dict[int, list[_Place]] = {}  # (queued_score, run id) in order, by function
        self.due: list[_Place] = []  # (wake_at_ms, run id) in order
        self.steps: dict[RunId, dict[str, StepRecord]] = {}
        self.history: dict[RunId, dict[int, HistoryRecord]] = {}
        self.secrets: dict[tuple[RunId, int], bytes] = {}
        self.dedups: dict[tuple[int, str], PutDedup] = {}
        self.quarantine: list[PutQuarantine] = []
        self.watches: dict[_WatchPlace, dict[bytes, RunId]] = {}
        self.errands: dict[bytes, PutErrand] = {}
        self.schedules: dict[tuple[int, str], PutSchedule] = {}
        self.transports: dict[tuple[str, str], PutTransport] = {}
        self.routes: dict[tuple[str, str], PutRoute] = {}
        self.workers: dict[bytes, PutWorker] = {}

    def check(self, writes: Sequence[Write]) -> None:
        """Assert what `apply` relies on: a list of writes is applied whole or not at all."""
        runs: set[RunId] = set()
        history: set[tuple[RunId, int]] = set()
        watched: dict[tuple[_WatchPlace, bytes], bool] = {}
        for write in writes:
            assert isinstance(write, Row), "a store keeps rows"
            if isinstance(write, PutRun):
                new = write.run_id not in self.runs and write.run_id not in runs
                assert new, "a run is put once"
                runs.add(write.run_id)
            elif isinstance(write, UpdateRun):
                known = write.run_id in self.runs or write.run_id in runs
                assert known, "a run is put before it is updated"
            elif isinstance(write, PutHistory):
                place = (write.run_id, write.seq)
                new = write.seq not in self.history.get(write.run_id, {}) and place not in history
                assert new, "a history row is put once"
                history.add(place)
            elif isinstance(write, PutWatch):
                watch = (_watch_place(write), write.watch_id)
                known = write.watch_id in self.watches.get(watch[0], {})
                assert not watched.get(watch, known), "a watch is put once"
                watched[watch] = True
            elif isinstance(write, DeleteWatch):
                watched[_watch_place(write), write.watch_id] = False

    def apply(self, write: Write) -> None:
        match write:
            case PutStep():
                self._put_step(write)
            case PutLive():
                self._drop_live(write.run_id)
                self._put_live(write)
            case PutEvent():
                if write.event_id not in self.events:
                    self.events[write.event_id] = write
                    insort(self.event_ids, write.event_id)
            case PutRun():
                self._put_run(write)
            case UpdateRun():
                self._update_run(write)
            case DeleteLive():
                self._drop_live(write.run_id)
            case PutHistory():
                self._put_history(write)
            case PutRequestSecrets():
                self.secrets[write.run_id, write.seq] = write.secrets
            case DeleteRequestSecrets():
                self.secrets.pop((write.run_id, write.seq), None)
            case PutDedup():
                self.dedups[write.function_no, write.key] = write
            case SetEventRuns():
                event = self.events.get(write.event_id)
                if event is not None:
                    self.events[write.event_id] = msgspec.structs.replace(event, runs=write.runs)
            case PutWatch():
                self.watches.setdefault(_watch_place(write), {})[write.watch_id] = write.run_id
            case DeleteWatch():
                watches = self.watches.get(_watch_place(write), {})
                watches.pop(write.watch_id, None)
                if not watches:
                    self.watches.pop(_watch_place(write), None)
            case PutErrand():
                self.errands[write.errand_id] = write
            case DeleteErrand():
                self.errands.pop(write.errand_id, None)
            case PutSchedule():
                self.schedules[write.function_no, write.cron] = write
            case DeleteSchedule():
                self.schedules.pop((write.function_no, write.cron), None)
            case PutTransport():
                self.transports[write.app_name, write.method] = write
            case DeleteTransport():
                self.transports.pop((write.app_name, write.method), None)
            case PutRoute():
                self.routes[write.app_name, write.slug] = write
            case DeleteRoute():
                self.routes.pop((write.app_name, write.slug), None)
            case PutApp():
                self.apps[write.name] = write
            case PutFunction():
                self.functions[write.no] = write
            case PutQuarantine():
                self.quarantine.append(write)
            case PutWorker():
                self.workers[write.connection_id] = write
            case TrimWorkers():
                self._trim_workers(write)
            case _:
                assert_never(write)

    def image(self, run_id: RunId) -> RunImage | None:
        run = self.runs.get(run_id)
        live = self.live.get(run_id)
        if run is None or live is None:
            return None
        steps = sorted(self.steps.get(run_id, {}).values(), key=lambda step: step.position)
        return RunImage(
            run_id=run_id,
            function_no=run.function_no,
            event_id=run.event_id,
            status=run.status,
            started_at_ms=run.started_at_ms,
            queued_score=live.queued_score,
            wake_at_ms=live.wake_at_ms,
            state=live.state,
            steps=tuple(StepRef(step.step_id, len(step.data)) for step in steps),
            history_count=max(self.history.get(run_id, {}), default=-1) + 1,
        )

    def _put_run(self, row: PutRun) -> None:
        insort(self.run_ids, row.run_id)
        self.runs[row.run_id] = RunRecord(
            run_id=row.run_id,
            function_no=row.function_no,
            event_id=row.event_id,
            status=row.status,
            started_at_ms=row.started_at_ms,
            ended_at_ms=None,
            output=None,
        )

    def _update_run(self, row: UpdateRun) -> None:
        run = self.runs[row.run_id]
        self.runs[row.run_id] = RunRecord(
            run_id=row.run_id,
            function_no=run.function_no,
            event_id=run.event_id,
            status=row.status,
            started_at_ms=row.started_at_ms,
            ended_at_ms=row.ended_at_ms,
            output=row.output,
        )

    def _put_live(self, row: PutLive) -> None:
        self.live[row.run_id] = row
        if row.queued_score is not None:
            places = self.queued.setdefault(row.function_no, [])
            insort(places, (row.queued_score, row.run_id))
        if row.wake_at_ms is not None:
            insort(self.due, (row.wake_at_ms, row.run_id))

    def _drop_live(self, run_id: RunId) -> None:
        row = self.live.pop(run_id, None)
        if row is None:
            return
        if row.queued_score is not None:
            places = self.queued[row.function_no]
            del places[bisect_left(places, (row.queued_score, run_id))]
        if row.wake_at_ms is not None:
            del self.due[bisect_left(self.due, (row.wake_at_ms, run_id))]

    def _put_step(self, row: PutStep) -> None:
        steps = self.steps.setdefault(row.run_id, {})
        if row.step_id not in steps:
            steps[row.step_id] = StepRecord(
                step_id=row.step_id,
                position=row.position,
                kind=row.kind,
                name=row.name,
                data=row.data,
                attempt=row.attempt,
                started_at_ms=row.started_at_ms,
                ended_at_ms=row.ended_at_ms,
            )

    def _put_history(self, row: PutHistory) -> None:
        self.history.setdefault(row.run_id, {})[row.seq] = HistoryRecord(
            seq=row.seq,
            at_ms=row.at_ms,
            kind=row.kind,
            step_id=row.step_id,
            name=row.name,
            attempt=row.attempt,
            payload=row.payload,
        )

    def _trim_workers(self, trim: TrimWorkers) -> None:
        ended = sorted(
            (row.ended_at_ms, row.connection_id)
            for row in self.workers.values()
            if row.ended_at_ms is not None
        )
        most = max(0, len(ended) - trim.keep)
        while most < len(ended) and ended[most][0] < trim.ended_before_ms:
            most += 1
        for _ended_at_ms, connection_id in ended[: min(most, trim.limit)]:
            del self.workers[connection_id]


def _worker_record(row: PutWorker) -> WorkerRecord:
    return WorkerRecord(connection_id=row.connection_id, body=row.body)


def _watch_place(row: PutWatch | DeleteWatch) -> _WatchPlace:
    return (row.kind, row.subject, row.path, row.value)


def _event_record(row: PutEvent) -> EventRecord:
    return EventRecord(
        event_id=row.event_id,
        name=row.name,
        ts_ms=row.ts_ms,
        data=row.data,
        external_id=row.external_id,
        user=row.user,
        v=row.v,
        meta=row.meta,
        source_run=row.source_run,
        runs=row.runs,
    )


def _slice(
    ids: list[_IdT],
    after: bytes | None,
    before: bytes | None,
    from_ms: int | None,
    until_ms: int | None,
    newest_first: bool,
) -> Iterator[_IdT]:
    """The ids between the bounds, of an ordered list that does not change meanwhile."""
    start = 0 if after is None else bisect_right(ids, after)
    end = len(ids) if before is None else bisect_left(ids, before)
    if from_ms is not None:
        start = max(start, bisect_left(ids, from_ms, key=ulid_ms))
    if until_ms is not None:
        end = min(end, bisect_left(ids, until_ms, key=ulid_ms))
    indexes = range(start, end)
    return (ids[index] for index in (reversed(indexes) if newest_first else indexes))


def _listed(run: RunRecord) -> RunRecord:
    """A run as lists show it: without a large output."""
    if run.output is None or len(run.output) <= LISTED_OUTPUT_BYTES_MAX:
        return run
    return msgspec.structs.replace(run, output=None)
