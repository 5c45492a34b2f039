"""Writes become statements. The hot path: about 1 to 4 us each, COMMIT apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

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
    SetEventRuns,
    TrimWorkers,
    UpdateRun,
)
from stepwell.store.sqlite.columns import runs_column, step_column
from stepwell.store.sqlite.statements import load_statements
from stepwell.wire.ids import ulid_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from stepwell.engine.rows import Write
    from stepwell.wire.ids import RunId

COMMIT_SQL = load_statements("commit.sql")

INTERNAL_PREFIX = "inngest/"

EVENT_NAMES_MAX = 10_000
"""Event names whose numbers are remembered. A program that makes up names starts them anew."""

_PUT_EVENT = COMMIT_SQL["put_event"]
_PUT_NEWER_EVENT = COMMIT_SQL["put_newer_event"]
_NEWEST_EVENT_ID = COMMIT_SQL["newest_event_id"]
_EVENT_NAME_NO = COMMIT_SQL["event_name_no"]
_PUT_EVENT_NAME = COMMIT_SQL["put_event_name"]
_PUT_RUN = COMMIT_SQL["put_run"]
_UPDATE_RUN = COMMIT_SQL["update_run"]
_UPDATE_LIVE_STATE = COMMIT_SQL["update_live_state"]
_PUT_LIVE = COMMIT_SQL["put_live"]
_DELETE_LIVE = COMMIT_SQL["delete_live"]
_PUT_STEP = COMMIT_SQL["put_step"]
_PUT_HISTORY = COMMIT_SQL["put_history"]
_PUT_REQUEST_SECRETS = COMMIT_SQL["put_request_secrets"]
_DELETE_REQUEST_SECRETS = COMMIT_SQL["delete_request_secrets"]
_PUT_DEDUP = COMMIT_SQL["put_dedup"]
_SET_EVENT_RUNS = COMMIT_SQL["set_event_runs"]
_PUT_WATCH = COMMIT_SQL["put_watch"]
_DELETE_WATCH = COMMIT_SQL["delete_watch"]
_PUT_ERRAND = COMMIT_SQL["put_errand"]
_DELETE_ERRAND = COMMIT_SQL["delete_errand"]
_PUT_SCHEDULE = COMMIT_SQL["put_schedule"]
_DELETE_SCHEDULE = COMMIT_SQL["delete_schedule"]
_PUT_TRANSPORT = COMMIT_SQL["put_transport"]
_DELETE_TRANSPORT = COMMIT_SQL["delete_transport"]
_PUT_ROUTE = COMMIT_SQL["put_route"]
_DELETE_ROUTE = COMMIT_SQL["delete_route"]
_PUT_APP = COMMIT_SQL["put_app"]
_PUT_FUNCTION = COMMIT_SQL["put_function"]
_PUT_QUARANTINE = COMMIT_SQL["put_quarantine"]
_PUT_WORKER = COMMIT_SQL["put_worker"]
_PUT_WORKER_APP = COMMIT_SQL["put_worker_app"]
_WORKER_CUT = COMMIT_SQL["worker_cut"]
_TRIM_WORKERS = COMMIT_SQL["trim_workers"]
_DELETE_WORKER_APP = COMMIT_SQL["delete_worker_app"]


class Writes:
    """Applies writes within the transaction that the connection has open."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.cursor().execute  # one cursor: making one costs 0.3 us
        self._name_nos: dict[str, int] = {}
        # Of an event that is not internal, and of one that is; empty until it was looked up.
        self._newest_event_ids: list[bytes] = []

    def apply(self, writes: Sequence[Write]) -> None:
        """Apply writes in order.

        Raises:
            AssertionError: An update of a run that is not there.
            apsw.ConstraintError: A second insert of what may be inserted once.
            apsw.Error: The disk failed.
        """
        execute = self._execute
        new_run: RunId | None = None
        for write in writes:  # most frequent kinds first
            match write:
                case PutStep():
                    execute(_PUT_STEP, _step_values(write))
                case PutLive():
                    if write.run_id == new_run:
                        execute(_PUT_LIVE, _live_values(write))  # there is nothing to update
                    else:
                        self._put_live(write)
                case PutEvent():
                    self._put_event(write)
                case PutRun():
                    execute(_PUT_RUN, _run_values(write))
                    new_run = write.run_id
                case UpdateRun():
                    self._update_run(write)
                case DeleteLive():
                    execute(_DELETE_LIVE, (write.run_id,))
                case PutHistory():
                    execute(_PUT_HISTORY, _history_values(write))
                case PutRequestSecrets():
                    execute(_PUT_REQUEST_SECRETS, (write.run_id, write.seq, write.secrets))
                case DeleteRequestSecrets():
                    execute(_DELETE_REQUEST_SECRETS, (write.run_id, write.seq))
                case PutDedup():
                    values = (write.function_no, write.key, write.run_id, write.expires_at_ms)
                    execute(_PUT_DEDUP, values)
                case PutWatch():
                    execute(_PUT_WATCH, (*_watch_key(write), write.run_id))
                case DeleteWatch():
                    execute(_DELETE_WATCH, _watch_key(write))
                case PutErrand():
                    execute(_PUT_ERRAND, (write.errand_id, write.body))
                case DeleteErrand():
                    execute(_DELETE_ERRAND, (write.errand_id,))
                case SetEventRuns():
                    execute(_SET_EVENT_RUNS, (write.event_id, runs_column(write.runs)))
                case PutSchedule():
                    execute(_PUT_SCHEDULE, (write.function_no, write.cron, write.last_ms))
                case DeleteSchedule():
                    execute(_DELETE_SCHEDULE, (write.function_no, write.cron))
                case PutTransport():
                    execute(_PUT_TRANSPORT, _transport_values(write))
                case DeleteTransport():
                    execute(_DELETE_TRANSPORT, (write.app_name, write.method))
                case PutRoute():
                    chosen = (write.connect_percent, int(write.pin))
                    execute(_PUT_ROUTE, (write.app_name, write.slug, *chosen))
                case DeleteRoute():
                    execute(_DELETE_ROUTE, (write.app_name, write.slug))
                case PutApp():
                    execute(_PUT_APP, _app_values(write))
                case PutFunction():
                    execute(_PUT_FUNCTION, _function_values(write))
                case PutQuarantine():
                    execute(_PUT_QUARANTINE, _quarantine_values(write))
                case PutWorker():
                    self._put_worker(write)
                case TrimWorkers():
                    self._trim_workers(write)
                case _:
                    assert_never(write)

    def rolled_back(self) -> None:
        """The transaction never was: forget the numbers and ids that it may have given."""
        self._name_nos.clear()
        self._newest_event_ids.clear()

    def _put_live(self, row: PutLive) -> None:
        values = _live_values(row)
        self._execute(_UPDATE_LIVE_STATE, values)
        if not self._connection.changes():
            self._execute(_PUT_LIVE, values)

    def _update_run(self, row: UpdateRun) -> None:
        queued_at_ms = ulid_ms(row.run_id)
        self._execute(
            _UPDATE_RUN,
            (
                row.run_id,
                row.status,
                _after(row.started_at_ms, queued_at_ms),
                _after(row.ended_at_ms, queued_at_ms),
                row.output,
            ),
        )
        assert self._connection.changes() == 1, "a run is put before it is updated"

    def _put_event(self, row: PutEvent) -> None:
        name_no = self._name_nos.get(row.name)
        internal = row.name.startswith(INTERNAL_PREFIX)
        newest = self._newest_event_ids
        if not newest:
            newest += [self._find_newest_event_id(kind) for kind in (0, 1)]
        # Ids ascend but for those that producers choose. What is newer than all events of the
        # other kind need not be looked for among them, which is half of the work.
        is_newer = row.event_id > newest[not internal]
        newest[internal] = max(newest[internal], row.event_id)
        self._execute(
            _PUT_NEWER_EVENT if is_newer else _PUT_EVENT,
            (
                internal,
                row.event_id,
                self._find_name_no(row.name) if name_no is None else name_no,
                row.ts_ms - ulid_ms(row.event_id),
                row.data,
                runs_column(row.runs),
                row.source_run,
                row.external_id,
                row.user,
                row.v,
                row.meta,
            ),
        )

    def _put_worker(self, row: PutWorker) -> None:
        apps = msgspec.json.encode(row.app_names)
        values = (row.connection_id, row.instance_id, row.ended_at_ms, apps, row.body)
        self._execute(_PUT_WORKER, values)
        for name in row.app_names:
            self._execute(_PUT_WORKER_APP, (name, row.connection_id))

    def _trim_workers(self, trim: TrimWorkers) -> None:
        cut = (trim.ended_before_ms, b"")  # what is before it in the order of their ends goes
        one_too_many: list[Any] = self._execute(_WORKER_CUT, (trim.keep,)).fetchall()
        for ended_at_ms, connection_id in one_too_many:
            cut = max(cut, (ended_at_ms, connection_id + b"\0"))
        gone: list[Any] = self._execute(_TRIM_WORKERS, (*cut, trim.limit)).fetchall()
        for connection_id, apps in gone:
            for name in msgspec.json.decode(apps):
                self._execute(_DELETE_WORKER_APP, (name, connection_id))

    def _find_newest_event_id(self, kind: int) -> bytes:
        rows = self._execute(_NEWEST_EVENT_ID, (kind,)).fetchall()
        if not rows:
            return b""
        ((event_id,),) = rows
        assert isinstance(event_id, bytes), "event ids are bytes"
        return event_id

    def _find_name_no(self, name: str) -> int:
        if len(self._name_nos) >= EVENT_NAMES_MAX:
            self._name_nos.clear()
        rows = self._execute(_EVENT_NAME_NO, (name,)).fetchall()
        if not rows:
            rows = self._execute(_PUT_EVENT_NAME, (name,)).fetchall()
        ((no,),) = rows
        assert isinstance(no, int), "numbers of names are integers"
        self._name_nos[name] = no
        return no


def _after(at_ms: int | None, start_ms: int) -> int | None:
    return None if at_ms is None else at_ms - start_ms


def _run_values(row: PutRun) -> tuple[object, ...]:
    started_after_ms = _after(row.started_at_ms, ulid_ms(row.run_id))
    return (row.run_id, row.function_no, row.event_id, row.status, started_after_ms)


def _live_values(row: PutLive) -> tuple[object, ...]:
    return (row.run_id, row.function_no, row.queued_score, row.wake_at_ms, row.state)


def _step_values(row: PutStep) -> tuple[object, ...]:
    return (
        row.run_id,
        step_column(row.step_id),
        row.position,
        row.kind,
        row.name,
        row.data,
        row.attempt,
        row.ended_at_ms - ulid_ms(row.run_id),
        row.ended_at_ms - row.started_at_ms,
    )


def _history_values(row: PutHistory) -> tuple[object, ...]:
    return (
        row.run_id,
        row.seq,
        row.at_ms - ulid_ms(row.run_id),
        row.kind,
        None if row.step_id is None else step_column(row.step_id),
        row.name,
        row.attempt,
        row.payload,
    )


def _watch_key(row: PutWatch | DeleteWatch) -> tuple[object, ...]:
    return (row.kind, row.subject, row.path, row.value, row.watch_id)


def _transport_values(row: PutTransport) -> tuple[object, ...]:
    return (
        row.app_name,
        row.method,
        row.url,
        row.sdk,
        row.framework,
        row.app_version,
        row.checksum,
        row.synced_at_ms,
        row.functions,
    )


def _app_values(row: PutApp) -> tuple[object, ...]:
    return (
        row.name,
        row.app_id,
        row.url,
        row.sdk,
        row.framework,
        row.app_version,
        row.checksum,
        row.method,
        row.synced_at_ms,
    )


def _function_values(row: PutFunction) -> tuple[object, ...]:
    return (
        row.no,
        row.function_id,
        row.app_name,
        row.slug,
        row.version,
        row.config,
        row.created_at_ms,
        row.archived_at_ms,
    )


def _quarantine_values(row: PutQuarantine) -> tuple[object, ...]:
    return (
        row.at_ms,
        row.run_id,
        row.input_repr.encode("utf-8", "surrogatepass"),
        row.traceback.encode("utf-8", "surrogatepass"),
    )
