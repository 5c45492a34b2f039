"""Reads for the API and for building calls, over a connection that cannot write."""

from __future__ import annotations

import heapq
from contextlib import contextmanager
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import apsw

from stepwell.engine.rows import HistoryKind, PutQuarantine, RunStatus, StepKind
from stepwell.store.interface import (
    EventRecord,
    HistoryRecord,
    RunRecord,
    StepRecord,
    WorkerRecord,
)
from stepwell.store.sqlite.columns import id_end, lowest_id, runs_tuple, step_text
from stepwell.store.sqlite.failures import store_error
from stepwell.store.sqlite.statements import load_statements
from stepwell.store.sqlite.writes import INTERNAL_PREFIX
from stepwell.wire.ids import EventId, RunId, ulid_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

READ_SQL = load_statements("read.sql")

MERGE_ROWS = 16
"""How many ids are read at a time of each range that a list of runs is merged from. Few, since
most ranges of a large catalog give a page one id or none."""

_FINISHED_NAME_NO = 1


class SqliteReader:
    """Reads what is committed. See `interface.Reader` for what each method promises.

    Each method is one statement, or several in one read transaction, and leaves none open: an
    open one would keep the log from being restarted.
    """

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._read = connection.cursor().execute

    def event(self, event_id: EventId) -> EventRecord | None:
        rows = self._query("event", event_id)
        return _event_record(rows[0]) if rows else None

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
        low = lowest_id(None, received_after_ms)
        end = id_end(before, received_before_ms)
        if name is not None:
            if name.startswith(INTERNAL_PREFIX) and not include_internal:
                return []
            return self._events_named(name, low, end, limit)
        with self._one_state():
            external = map(_event_record, self._query("events", 0, low, end, limit))
            if not include_internal:
                return list(external)
            internal = map(_event_record, self._query("events", 1, low, end, limit))
            newest = heapq.merge(external, internal, key=attrgetter("event_id"), reverse=True)
            return list(islice(newest, limit))

    def count_events(
        self,
        *,
        received_after_ms: int | None = None,
        received_before_ms: int | None = None,
        name: str | None = None,
        include_internal: bool = False,
        most: int,
    ) -> int:
        low, end = lowest_id(None, received_after_ms), id_end(None, received_before_ms)
        if name is None:
            kinds = (0, 1) if include_internal else (0,)
            with self._one_state():
                return min(most, sum(self._count("count_events", k, low, end, most) for k in kinds))
        found = self._query("event_name_no", name)
        if not found or (name.startswith(INTERNAL_PREFIX) and not include_internal):
            return 0
        ((name_no,),) = found
        if name_no == _FINISHED_NAME_NO:
            return self._count("count_events_finished", low, end, most)
        return self._count("count_events_named", name_no, low, end, most)

    def run(self, run_id: RunId) -> RunRecord | None:
        rows = self._query("run", run_id)
        return _run_record(rows[0]) if rows else None

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
        low = lowest_id(after, queued_from_ms)
        end = id_end(before, queued_until_ms)
        if not statuses and function_nos is None:
            order = "runs_newest" if newest_first else "runs_oldest"
            return [_run_record(row) for row in self._query(order, low, end, limit)]
        with self._one_state():
            if function_nos is None:
                function_nos = [no for (no,) in self._query("run_functions")]
            ranges = [
                self._run_ids(function_no, status, low, end, newest_first)
                for function_no in sorted(set(function_nos))
                for status in sorted(set(statuses or RunStatus))
            ]
            ids = islice(heapq.merge(*ranges, reverse=newest_first), limit)
            return [_run_record(row) for run_id in ids for row in self._query("run_listed", run_id)]

    def count_runs(
        self,
        *,
        queued_from_ms: int | None = None,
        queued_until_ms: int | None = None,
        statuses: Collection[RunStatus] = (),
        function_nos: Collection[int] | None = None,
        most: int,
    ) -> int:
        low, end = lowest_id(None, queued_from_ms), id_end(None, queued_until_ms)
        if not statuses and function_nos is None:
            return self._count("count_runs", low, end, most)
        with self._one_state():
            if function_nos is None:
                function_nos = [no for (no,) in self._query("run_functions")]
            count = 0
            for function_no in set(function_nos):
                for status in set(statuses or RunStatus):
                    count += self._count("count_run_ids", function_no, status, low, end, most)
            return min(count, most)

    def steps(self, run_id: RunId) -> list[StepRecord]:
        queued_at_ms = ulid_ms(run_id)
        return [
            StepRecord(
                step_id=step_text(step_id),
                position=position,
                kind=StepKind(kind),
                name=name,
                data=data,
                attempt=attempt,
                started_at_ms=queued_at_ms + ended_after_ms - took_ms,
                ended_at_ms=queued_at_ms + ended_after_ms,
            )
            for (
                step_id,
                position,
                kind,
                name,
                data,
                attempt,
                ended_after_ms,
                took_ms,
            ) in self._query("steps", run_id)
        ]

    def history(self, run_id: RunId) -> list[HistoryRecord]:
        return [_history_record(run_id, row) for row in self._query("history", run_id)]

    def history_row(self, run_id: RunId, seq: int) -> HistoryRecord | None:
        rows = self._query("history_row", run_id, seq)
        return _history_record(run_id, rows[0]) if rows else None

    def request_secrets(self, run_id: RunId, seq: int) -> bytes | None:
        rows = self._query("request_secrets", run_id, seq)
        return bytes(rows[0][0]) if rows else None

    def live_state(self, run_id: RunId) -> bytes | None:
        rows = self._query("live_state", run_id)
        return bytes(rows[0][0]) if rows else None

    def quarantined(self, *, limit: int) -> list[PutQuarantine]:
        return [
            PutQuarantine(
                at_ms=at_ms,
                run_id=None if run_id is None else RunId(run_id),
                input_repr=input_repr.decode("utf-8", "surrogatepass"),
                traceback=traceback.decode("utf-8", "surrogatepass"),
            )
            for at_ms, run_id, input_repr, traceback in self._query("quarantined", limit)
        ]

    def count_live(self) -> int:
        return self._count("count_live")

    def worker(self, connection_id: bytes) -> WorkerRecord | None:
        records = _worker_records(self._query("worker", connection_id))
        return records[0] if records else None

    def ended_workers(
        self,
        *,
        before: bytes | None = None,
        app_name: str | None = None,
        instance_id: str | None = None,
        limit: int,
    ) -> list[WorkerRecord]:
        end = id_end(before, None)
        if instance_id is not None:
            rows = self._query("ended_workers_of_instance", end, limit, app_name, instance_id)
        elif app_name is not None:
            rows = self._query("ended_workers_of_app", end, limit, app_name)
        else:
            rows = self._query("ended_workers", end, limit)
        return _worker_records(rows)

    def open_workers(self, *, limit: int) -> list[WorkerRecord]:
        return _worker_records(self._query("open_workers", limit))

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def _events_named(self, name: str, low: bytes, end: bytes, limit: int) -> list[EventRecord]:
        found = self._query("event_name_no", name)
        if not found:
            return []
        ((name_no,),) = found
        if name_no == _FINISHED_NAME_NO:
            rows = self._query("events_finished", low, end, limit)
        else:
            rows = self._query("events_named", name_no, low, end, limit)
        return [_event_record(row) for row in rows]

    def _run_ids(
        self, function_no: int, status: RunStatus, low: bytes, end: bytes, newest_first: bool
    ) -> Iterator[RunId]:
        """Ids of one function's runs in one status, in order, read as they are asked for."""
        statement = "run_ids_newest" if newest_first else "run_ids_oldest"
        while True:
            rows = self._query(statement, function_no, status, low, end, MERGE_ROWS)
            for (run_id,) in rows:
                yield RunId(run_id)
            if len(rows) < MERGE_ROWS:
                return
            ((last,),) = rows[-1:]
            if newest_first:
                end = last
            else:
                low = lowest_id(last, None)

    def _count(self, statement: str, *values: object) -> int:
        ((count,),) = self._query(statement, *values)
        return int(count)

    @contextmanager
    def _one_state(self) -> Iterator[None]:
        """Let the statements inside see one state of the data."""
        self._query("begin")
        try:
            yield
        finally:
            self._query("end")

    def _query(self, name: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._read(READ_SQL[name], values).fetchall()
        except apsw.Error as error:
            raise store_error(error, self._path) from error


def _worker_records(rows: list[tuple[Any, ...]]) -> list[WorkerRecord]:
    return [WorkerRecord(connection_id=connection_id, body=body) for connection_id, body in rows]


def _event_record(row: tuple[Any, ...]) -> EventRecord:
    event_id, name, ts_after_ms, data, external_id, user, v, meta, source_run, runs = row
    return EventRecord(
        event_id=EventId(event_id),
        name=name,
        ts_ms=ulid_ms(event_id) + ts_after_ms,
        data=data,
        external_id=external_id,
        user=user,
        v=v,
        meta=meta,
        source_run=None if source_run is None else RunId(source_run),
        runs=runs_tuple(runs),
    )


def _history_record(run_id: RunId, row: tuple[Any, ...]) -> HistoryRecord:
    seq, at_after_ms, kind, step_id, name, attempt, payload = row
    return HistoryRecord(
        seq=seq,
        at_ms=ulid_ms(run_id) + at_after_ms,
        kind=HistoryKind(kind),
        step_id=None if step_id is None else step_text(step_id),
        name=name,
        attempt=attempt,
        payload=payload,
    )


def _run_record(row: tuple[Any, ...]) -> RunRecord:
    run_id, function_no, event_id, status, started_after_ms, ended_after_ms, output = row
    queued_at_ms = ulid_ms(run_id)
    return RunRecord(
        run_id=RunId(run_id),
        function_no=function_no,
        event_id=EventId(event_id),
        status=RunStatus(status),
        started_at_ms=None if started_after_ms is None else queued_at_ms + started_after_ms,
        ended_at_ms=None if ended_after_ms is None else queued_at_ms + ended_after_ms,
        output=output,
    )
