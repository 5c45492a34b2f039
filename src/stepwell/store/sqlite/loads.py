"""What a partition loads from, read over the connection that writes: it sees each commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from stepwell.engine.rows import (
    PutApp,
    PutErrand,
    PutFunction,
    PutRoute,
    PutSchedule,
    PutTransport,
    RunImage,
    RunStatus,
    StepRef,
    WatchKind,
)
from stepwell.store.sqlite.columns import step_text
from stepwell.store.sqlite.failures import store_error
from stepwell.store.sqlite.statements import load_statements
from stepwell.wire.ids import EventId, RunId, ulid_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

LOAD_SQL = load_statements("load.sql")

_LOWEST_PLACE = (-(2**63), b"")


class Loads:
    """The reading half of a store. See `interface.Store` for what each method promises."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._read = connection.cursor().execute

    def load_catalog(self) -> tuple[list[PutApp], list[PutFunction]]:
        apps = [
            PutApp(
                name=name,
                app_id=app_id,
                url=url,
                sdk=sdk,
                framework=framework,
                app_version=app_version,
                checksum=checksum,
                method=method,
                synced_at_ms=synced_at_ms,
            )
            for (
                name,
                app_id,
                url,
                sdk,
                framework,
                app_version,
                checksum,
                method,
                synced_at_ms,
            ) in self._query("apps")
        ]
        functions = [
            PutFunction(
                no=no,
                function_id=function_id,
                app_name=app_name,
                slug=slug,
                version=version,
                config=config,
                created_at_ms=created_at_ms,
                archived_at_ms=archived_at_ms,
            )
            for (
                no,
                function_id,
                app_name,
                slug,
                version,
                config,
                created_at_ms,
                archived_at_ms,
            ) in self._query("functions")
        ]
        return apps, functions

    def load_runs(self, run_ids: Sequence[RunId]) -> list[RunImage]:
        return [self._image(row) for run_id in run_ids for row in self._query("live_run", run_id)]

    def scan_queued(
        self, function_no: int, *, after: tuple[int, RunId] | None, limit: int
    ) -> list[RunImage]:
        score, run_id = after or _LOWEST_PLACE
        rows = self._query("queued_runs", function_no, score, run_id, limit)
        return [self._image(row) for row in rows]

    def scan_due(
        self, *, until_ms: int, after: tuple[int, RunId] | None, limit: int
    ) -> list[RunImage]:
        wake_at_ms, run_id = after or _LOWEST_PLACE
        rows = self._query("due_runs", until_ms, wake_at_ms, run_id, limit)
        return [self._image(row) for row in rows]

    def queued_functions(self) -> list[int]:
        return [no for (no,) in self._query("queued_functions")]

    def next_wake_ms(self, *, after_ms: int) -> int | None:
        ((wake_at_ms,),) = self._query("next_wake", after_ms)
        return None if wake_at_ms is None else int(wake_at_ms)

    def known_events(self, event_ids: Collection[EventId]) -> set[EventId]:
        return {event_id for event_id in event_ids if self._query("knows_event", event_id)}

    def known_dedups(
        self, keys: Collection[tuple[int, str]], *, now_ms: int
    ) -> dict[tuple[int, str], RunId]:
        return {
            key: RunId(run_id)
            for key in keys
            for (run_id,) in self._query("dedup_run", *key, now_ms)
        }

    def load_watched(self) -> list[tuple[str, str, int, bytes]]:
        return list(self._query("watched"))

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
        rows = self._query("watches", kind, subject, path, value, after, before, limit)
        return [(watch_id, RunId(run_id)) for watch_id, run_id in rows]

    def scan_errands(self, *, after: bytes, limit: int) -> list[PutErrand]:
        rows = self._query("errands", after, limit)
        return [PutErrand(errand_id=errand_id, body=body) for errand_id, body in rows]

    def load_schedules(self) -> list[PutSchedule]:
        return [
            PutSchedule(function_no=no, cron=cron, last_ms=last_ms)
            for no, cron, last_ms in self._query("schedules")
        ]

    def load_transports(self) -> list[PutTransport]:
        return [
            PutTransport(
                app_name=app_name,
                method=method,
                url=url,
                sdk=sdk,
                framework=framework,
                app_version=app_version,
                checksum=checksum,
                synced_at_ms=synced_at_ms,
                functions=functions,
            )
            for (
                app_name,
                method,
                url,
                sdk,
                framework,
                app_version,
                checksum,
                synced_at_ms,
                functions,
            ) in self._query("transports")
        ]

    def load_routes(self) -> list[PutRoute]:
        return [
            PutRoute(app_name=app_name, slug=slug, connect_percent=percent, pin=bool(pin))
            for app_name, slug, percent, pin in self._query("routes")
        ]

    def count_stranded(self) -> int:
        ((count,),) = self._query("count_stranded")
        return int(count)

    def _image(self, row: tuple[Any, ...]) -> RunImage:
        (
            run_id,
            function_no,
            event_id,
            status,
            started_after_ms,
            queued_score,
            wake_at_ms,
            state,
            history_count,
            has_steps,
        ) = row
        refs = self._query("step_refs", run_id) if has_steps else ()
        return RunImage(
            run_id=RunId(run_id),
            function_no=function_no,
            event_id=EventId(event_id),
            status=RunStatus(status),
            started_at_ms=None if started_after_ms is None else ulid_ms(run_id) + started_after_ms,
            queued_score=queued_score,
            wake_at_ms=wake_at_ms,
            state=state,
            steps=tuple(StepRef(step_text(step_id), data_bytes) for step_id, data_bytes in refs),
            history_count=history_count,
        )

    def _query(self, name: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of a statement; nothing stays open, so the log can always be restarted."""
        try:
            return self._read(LOAD_SQL[name], values).fetchall()
        except apsw.Error as error:
            raise store_error(error, self._path) from error
