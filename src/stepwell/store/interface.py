"""What the rest of the server may ask of a store.

A store keeps rows and nothing else: it decides nothing. Memory and SQLite implement this and pass
one contract suite (`tests/store`). All methods block; the caller chooses the thread. `Store` has
one user at a time (the runtime, or the committer's thread while a commit is out); each `Reader`
belongs to one thread. Any method may raise `StoreError`: `Retryable` if the disk refused, which a
second try may overcome, else `store_corrupt` or `store_error`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from stepwell.engine.rows import (
    HistoryKind,
    PutApp,
    PutErrand,
    PutFunction,
    PutQuarantine,
    PutRoute,
    PutSchedule,
    PutTransport,
    RunStatus,
    StepKind,
    WatchKind,
)
from stepwell.wire.ids import EventId, RunId

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from stepwell.engine.rows import RunImage, Write


class Store(Protocol):
    """The write side and what a partition loads from."""

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply all writes, in order, in one transaction; they are durable on return.

        What is there already: an event or a step stays as it is; a live row, a request's secrets,
        a dedup pair, an errand, a schedule, an app, a function or a worker is replaced; a run, a
        history row or a watch a second time, like an update of a run that is not there, breaks an
        invariant of the engine.

        Raises:
            Retryable: Nothing was stored (disk full, I/O error); the same writes may come again.
                If the disk failed in the last act of the commit and the power fails before the
                next one, they may be found stored after all, as a whole.
            Fenced: Another owner holds the data.
            AssertionError: A broken invariant; nothing was stored.
        """
        ...

    def load_catalog(self) -> tuple[list[PutApp], list[PutFunction]]:
        """All apps and all functions, archived ones too, by name and by number."""
        ...

    def load_runs(self, run_ids: Sequence[RunId]) -> list[RunImage]:
        """The live ones among these runs, in the order asked; others are left out.

        A run is live if it has both a run row and a live row.
        """
        ...

    def scan_queued(
        self, function_no: int, *, after: tuple[int, RunId] | None, limit: int
    ) -> list[RunImage]:
        """Live runs of one queue, by (queued_score, run_id).

        `function_no` names the queue like that of a live row. `after` is such a pair, exclusive.
        It need not be there any more.
        """
        ...

    def scan_due(
        self, *, until_ms: int, after: tuple[int, RunId] | None, limit: int
    ) -> list[RunImage]:
        """Live runs whose `wake_at_ms` <= `until_ms`, by (wake_at_ms, run_id), from `after` on."""
        ...

    def queued_functions(self) -> list[int]:
        """Queues that have at least one live run, by `function_no` of the live rows, in order."""
        ...

    def next_wake_ms(self, *, after_ms: int) -> int | None:
        """The earliest `wake_at_ms` > `after_ms` of any live run."""
        ...

    def known_events(self, event_ids: Collection[EventId]) -> set[EventId]:
        """Which of these events are stored."""
        ...

    def known_dedups(
        self, keys: Collection[tuple[int, str]], *, now_ms: int
    ) -> dict[tuple[int, str], RunId]:
        """The unexpired ones among these (function_no, key) pairs and the runs they started.

        A pair is expired from `expires_at_ms` on.
        """
        ...

    def load_watched(self) -> list[tuple[str, str, int, bytes]]:
        """What events are watched for: name, path, how many watches that are, the last id."""
        ...

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
        """Watches by exactly that, with their runs, by id; `after` and `before` are exclusive."""
        ...

    def scan_errands(self, *, after: bytes, limit: int) -> list[PutErrand]:
        """Errands that are not done, by id; `after` is exclusive."""
        ...

    def load_schedules(self) -> list[PutSchedule]:
        """All schedules, by function and text."""
        ...

    def load_transports(self) -> list[PutTransport]:
        """All ways to all apps, by app and method."""
        ...

    def load_routes(self) -> list[PutRoute]:
        """All routes, by app and slug."""
        ...

    def delete_expired_dedups(self, *, now_ms: int, limit: int) -> int:
        """Delete up to `limit` expired pairs, oldest first, in a transaction of its own.

        Returns:
            How many it deleted.
        """
        ...

    def count_stranded(self) -> int:
        """Live rows with neither a queued job nor a due time. Must be 0."""
        ...

    def reader(self) -> Reader:
        """A new read-only view; it sees what was committed before each of its calls."""
        ...

    def idle(self) -> None:
        """Housekeeping, for a moment when nothing else happens. Changes no row.

        SQLite moves committed pages from its log into the database file: tens of milliseconds at
        most times, next to nothing if there was no commit since. It never waits for readers.
        """
        ...

    def close(self) -> None:
        """Release files and locks; readers are closed before. Idempotent."""
        ...


LISTED_OUTPUT_BYTES_MAX = 65_536
"""A list of a hundred runs with outputs of up to 8 MiB would be most of a gigabyte."""


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stored event. A lifecycle event has `source_run` and empty `data`."""

    event_id: EventId
    name: str
    ts_ms: int
    data: bytes
    external_id: str | None
    user: bytes | None
    v: str | None
    meta: bytes | None
    source_run: RunId | None
    runs: tuple[RunId, ...]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stored run, over or not."""

    run_id: RunId
    function_no: int
    event_id: EventId
    status: RunStatus
    started_at_ms: int | None
    ended_at_ms: int | None
    output: bytes | None


class StepRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stored step."""

    step_id: str
    position: int
    kind: StepKind
    name: str
    data: bytes
    attempt: int
    started_at_ms: int
    ended_at_ms: int


class HistoryRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stored history row."""

    seq: int
    at_ms: int
    kind: HistoryKind
    step_id: str | None
    name: str | None
    attempt: int
    payload: bytes | None


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stored connection of a worker."""

    connection_id: bytes
    body: bytes


class Reader(Protocol):
    """Reads for the API and for building calls.

    A list costs about as much as what it returns, however many rows there are besides. `limit` is
    at least 0; the caller bounds it.
    """

    def event(self, event_id: EventId) -> EventRecord | None: ...

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
        """Newest first, by id; `before` is exclusive; internal names begin with `inngest/`.

        An event was received at the time in its id: from `received_after_ms` on, and before
        `received_before_ms`. An internal name finds nothing unless `include_internal`.
        """
        ...

    def count_events(
        self,
        *,
        received_after_ms: int | None = None,
        received_before_ms: int | None = None,
        name: str | None = None,
        include_internal: bool = False,
        most: int,
    ) -> int:
        """How many events `events` would list, at most `most`."""
        ...

    def run(self, run_id: RunId) -> RunRecord | None: ...

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
        """Runs by id; `before` and `after` are exclusive; no statuses means all.

        A run was queued at the time in its id: from `queued_from_ms` on, and before
        `queued_until_ms`. `function_nos` that are empty find nothing. An output of more than
        `LISTED_OUTPUT_BYTES_MAX` is left out (None): `run` gives it.
        """
        ...

    def count_runs(
        self,
        *,
        queued_from_ms: int | None = None,
        queued_until_ms: int | None = None,
        statuses: Collection[RunStatus] = (),
        function_nos: Collection[int] | None = None,
        most: int,
    ) -> int:
        """How many runs `runs` would list, at most `most`."""
        ...

    def steps(self, run_id: RunId) -> list[StepRecord]:
        """By position."""
        ...

    def history(self, run_id: RunId) -> list[HistoryRecord]:
        """By seq."""
        ...

    def history_row(self, run_id: RunId, seq: int) -> HistoryRecord | None:
        """One row of it, however long it is."""
        ...

    def request_secrets(self, run_id: RunId, seq: int) -> bytes | None:
        """What a request that is not over must not show. For whoever makes it, and nobody else."""
        ...

    def live_state(self, run_id: RunId) -> bytes | None:
        """The engine's state of a run that is not over (for timelines)."""
        ...

    def quarantined(self, *, limit: int) -> list[PutQuarantine]:
        """Inputs that the engine could not process, the last one first."""
        ...

    def count_live(self) -> int: ...

    def worker(self, connection_id: bytes) -> WorkerRecord | None: ...

    def ended_workers(
        self,
        *,
        before: bytes | None = None,
        app_name: str | None = None,
        instance_id: str | None = None,
        limit: int,
    ) -> list[WorkerRecord]:
        """Connections that have ended, by id, newest first; `before` is exclusive."""
        ...

    def open_workers(self, *, limit: int) -> list[WorkerRecord]:
        """Connections that have not ended, by id: after a crash those that were open."""
        ...

    def close(self) -> None: ...
