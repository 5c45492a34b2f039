"""Rows: what is on disk about events, runs and steps, and the writes that put it there.

The engine makes these, the store keeps them. Payloads (event data, outputs, errors) are opaque
JSON bytes that pass through once; memory holds the rest. Times are milliseconds since the epoch.
Road not taken: a history row for each change. A step row tells its own first-try success and a
run row its own start and end, so history holds only what they cannot tell.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from stepwell.wire.ids import EventId, RunId


class RunStatus(IntEnum):
    """The numbers are stored."""

    SCHEDULED = 100
    RUNNING = 200
    COMPLETED = 300
    FAILED = 400
    CANCELLED = 500
    SKIPPED = 600

    @property
    def is_over(self) -> bool:
        return self >= RunStatus.COMPLETED


class StepKind(IntEnum):
    """How a memo is written and shown. The numbers are stored."""

    RUN = 1  # {"data": X}
    FAILED = 2  # {"error": X}
    SLEEP = 3  # null
    LEGACY = 4  # the bare stored value (op `Step`)


class HistoryKind(IntEnum):
    """What happened that no other row tells. The numbers are stored."""

    ATTEMPT_FAILED = 1  # payload: the error; the call is tried again
    CALL_LOST = 2  # the worker went away; the job is queued again
    STEP_PLANNED = 3  # a parallel step was put in the queue
    SLEEP_STARTED = 4  # payload: the due time as a JSON integer


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of every row and write."""


class PutEvent(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """A new event. An event id that is already there is left as it is.

    `external_id` is the producer's own id, None when it gave none. `runs` are the runs that this
    event started. A lifecycle event of a run has `source_run` and no data of its own: its body is
    built from that run's rows when somebody reads it.
    """

    event_id: EventId
    name: str
    ts_ms: int
    data: bytes
    external_id: str | None = None
    user: bytes | None = None
    v: str | None = None
    meta: bytes | None = None
    source_run: RunId | None = None
    runs: tuple[RunId, ...] = ()


class PutRun(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """A new run. It was queued at the time in its id."""

    run_id: RunId
    function_no: int
    event_id: EventId
    status: RunStatus
    started_at_ms: int | None = None


class UpdateRun(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """A run began or ended. `output` is the result, or the error of a failed run (JSON)."""

    run_id: RunId
    status: RunStatus
    started_at_ms: int | None
    ended_at_ms: int | None = None
    output: bytes | None = None


class PutLive(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace what a run that is not over needs to go on.

    `queued_score` is set while a job waits for a worker (the run's place in its function's
    queue); `wake_at_ms` is when something is due (a retry, a sleep), 0 while a call is out.
    Both are None never: such a run would be stranded.
    """

    run_id: RunId
    function_no: int
    queued_score: int | None
    wake_at_ms: int | None
    state: bytes


class DeleteLive(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """The run is over."""

    run_id: RunId


class PutStep(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """A step's outcome. The first write of a (run, step) wins; the engine never sends a second.

    `position` counts from 0 in the order of completion. `started_at_ms` is when the call that
    produced it was sent (a sleep: when it began).
    """

    run_id: RunId
    step_id: str
    position: int
    kind: StepKind
    name: str
    data: bytes
    attempt: int
    started_at_ms: int
    ended_at_ms: int


class PutHistory(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Something that happened to a run. `seq` counts from 0 within the run."""

    run_id: RunId
    seq: int
    at_ms: int
    kind: HistoryKind
    step_id: str | None
    name: str | None
    attempt: int
    payload: bytes | None = None


class PutDedup(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """One event id of a producer may start a function once until `expires_at_ms`.

    Inserts or replaces: the engine asks first, so what it replaces has expired.
    """

    function_no: int
    key: str
    run_id: RunId
    expires_at_ms: int


class PutApp(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace an app."""

    name: str
    app_id: str
    url: str
    sdk: str
    framework: str
    app_version: str
    checksum: str
    method: str  # "connect" or "serve"
    synced_at_ms: int


class PutFunction(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace a function. `no` is its number in run rows and never changes.

    `config` is the function's configuration as JSON; `archived_at_ms` is set when a sync no
    longer lists it.
    """

    no: int
    function_id: str
    app_name: str
    slug: str
    version: int
    config: bytes
    created_at_ms: int
    archived_at_ms: int | None = None


class PutQuarantine(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """An input that the engine could not process, kept for whoever mends the engine."""

    at_ms: int
    run_id: RunId | None
    input_repr: str
    traceback: str


Write = (
    PutEvent
    | PutRun
    | UpdateRun
    | PutLive
    | DeleteLive
    | PutStep
    | PutHistory
    | PutDedup
    | PutApp
    | PutFunction
    | PutQuarantine
)


class StepRef(msgspec.Struct, frozen=True, gc=False):
    """What memory keeps of a stored step: its id and the size of its data in bytes."""

    step_id: str
    data_bytes: int


class RunImage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A live run's metadata as read from disk.

    `steps` are in order of position. `history_count` is the next `PutHistory.seq`.
    """

    run_id: RunId
    function_no: int
    event_id: EventId
    status: RunStatus
    started_at_ms: int | None
    queued_score: int | None
    wake_at_ms: int | None
    state: bytes
    steps: tuple[StepRef, ...]
    history_count: int
