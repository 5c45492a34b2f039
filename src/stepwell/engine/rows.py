"""Rows: what is on disk about events, runs and steps, and the writes that put it there.

The engine makes these, the store keeps them. Payloads (event data, outputs, errors) are opaque
JSON bytes that pass through once; memory holds the rest. Times are milliseconds since the epoch.
Road not taken: a history row for each change. A step row tells its own first-try success and a
run row its own start and end, so history holds only what they cannot tell.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal

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
        return self >= _OVER_FROM


_OVER_FROM: Final = RunStatus.COMPLETED


class StepKind(IntEnum):
    """How a memo is written and shown. The numbers are stored."""

    RUN = 1  # {"data": X}
    FAILED = 2  # {"error": X}
    SLEEP = 3  # null
    LEGACY = 4  # the bare stored value (op `Step`)
    EVENT = 5  # the event that was waited for, bare; null if none came in time
    SIGNAL = 6  # {"data": X}
    SIGNAL_TIMEOUT = 7  # null
    INVOKE = 8  # {"data": X}, the result of the function that was invoked
    FETCH = 9  # {"data": X}, what an address answered
    INFER = 10  # {"data": X}, what a provider of AI answered


class HistoryKind(IntEnum):
    """What happened that no other row tells. The numbers are stored."""

    ATTEMPT_FAILED = 1  # payload: the error; the call is tried again
    CALL_LOST = 2  # the worker went away; the job is queued again
    STEP_PLANNED = 3  # a parallel step was put in the queue
    SLEEP_STARTED = 4  # payload: the due time as a JSON integer
    WAIT_STARTED = 5  # payload: {"event", "if"?, "until"}
    SIGNAL_WAIT_STARTED = 6  # payload: {"signal", "until"}
    INVOKE_STARTED = 7  # payload: {"function", "event", "run"?, "until"}
    FETCH_STARTED = 8  # payload: the op's options without keys; the server makes the request
    DEFERRED = 9  # payload: {"fn_slug", "input"}; starts when the run is over
    DEFER_WITHDRAWN = 10
    CANCELLED = 11  # payload: {"reason", "event"?}
    INFER_STARTED = 12  # as FETCH_STARTED, of a provider of AI


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

    `queued_score` is set while a job is queued: the run's place in the queue of its function.
    `function_no` says which one that is: of what waits for a worker, or, negative, of what waits
    for the server to make a request. A run that has both kinds stands in the first.
    `wake_at_ms` is when something is due (a retry, a sleep), 0 while a call is out. Both are None
    never: such a run would be stranded.
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


class PutRequestSecrets(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace what a request must not show, until it is over.

    `seq` is that of the history row that tells the rest; `secrets` is a JSON object.
    """

    run_id: RunId
    seq: int
    secrets: bytes


class DeleteRequestSecrets(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """The request is over. What is not there is ignored."""

    run_id: RunId
    seq: int


class PutDedup(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """One event id of a producer may start a function once until `expires_at_ms`.

    Inserts or replaces: the engine asks first, so what it replaces has expired.
    """

    function_no: int
    key: str
    run_id: RunId
    expires_at_ms: int


class SetEventRuns(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """The runs that an event started after all: its triggers could only be asked later."""

    event_id: EventId
    runs: tuple[RunId, ...]


class WatchKind(IntEnum):
    """What a run watches for. The numbers are stored."""

    EVENT = 1  # to go on, or to be cancelled
    SIGNAL = 2


class PutWatch(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Lets an event or a signal find the run that waits for it, or is to be cancelled by it.

    Attributes:
        subject: The event's name, or the signal.
        path: Where the event must have `value`, as a JSON array; empty if anywhere will do.
        value: As `stepwell.expressions.index_value` writes it.
        watch_id: A ULID: what came before it was made does not count.
    """

    kind: WatchKind
    subject: str
    path: str
    value: bytes
    watch_id: bytes
    run_id: RunId


class DeleteWatch(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """The run does not watch for that any more. One that is not there is ignored."""

    kind: WatchKind
    subject: str
    path: str
    value: bytes
    watch_id: bytes


class PutErrand(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace something that a later turn has still to do, since it needs other rows.

    `errand_id` is a ULID: errands are done in its order. `body` is the engine's own.
    """

    errand_id: bytes
    body: bytes


class DeleteErrand(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """It is done."""

    errand_id: bytes


class PutSchedule(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace a function's schedule: `last_ms` is the instant that fired last."""

    function_no: int
    cron: str
    last_ms: int


class DeleteSchedule(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """The function has this schedule no more."""

    function_no: int
    cron: str


class PutApp(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace an app."""

    name: str
    app_id: str
    url: str
    sdk: str
    framework: str
    app_version: str
    checksum: str
    method: str  # "connect", "serve" or "removed"
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


class PutTransport(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace one way to an app: its latest registration by this method.

    `functions` is a JSON object: by slug, the URL of its calls over HTTP, empty for none.
    """

    app_name: str
    method: Literal["connect", "serve"]
    url: str
    sdk: str
    framework: str
    app_version: str
    checksum: str
    synced_at_ms: int
    functions: bytes


class DeleteTransport(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """The app cannot be reached in this way any more."""

    app_name: str
    method: Literal["connect", "serve"]


class PutRoute(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace what an operator chose for a function; an empty `slug` is for all.

    Attributes:
        connect_percent: Of its runs over Connect, None for the default.
        pin: Runs stay with the version of the app on which they began; of an app only.
    """

    app_name: str
    slug: str
    connect_percent: int | None
    pin: bool = False


class DeleteRoute(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Nothing is chosen for it any more."""

    app_name: str
    slug: str


class PutQuarantine(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """An input that the engine could not process, kept for whoever mends the engine."""

    at_ms: int
    run_id: RunId | None
    input_repr: str
    traceback: str


class PutWorker(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Insert or replace a worker's connection.

    Attributes:
        connection_id: A ULID: its time is when the worker asked for the connection.
        ended_at_ms: None while it is open.
        app_names: What it is found by; they never change.
        body: All that is known of it, opaque to the store.
    """

    connection_id: bytes
    instance_id: str
    ended_at_ms: int | None
    app_names: tuple[str, ...]
    body: bytes


class TrimWorkers(Row, frozen=True, kw_only=True, tag=True, gc=False):
    """Forget connections that ended: before a time, and all but the last `keep`.

    At most `limit` in one commit, those that ended first.
    """

    ended_before_ms: int
    keep: int
    limit: int


Write = (
    PutEvent
    | PutRun
    | UpdateRun
    | PutLive
    | DeleteLive
    | PutStep
    | PutHistory
    | PutRequestSecrets
    | DeleteRequestSecrets
    | PutDedup
    | SetEventRuns
    | PutWatch
    | DeleteWatch
    | PutErrand
    | DeleteErrand
    | PutSchedule
    | DeleteSchedule
    | PutApp
    | PutFunction
    | PutTransport
    | DeleteTransport
    | PutRoute
    | DeleteRoute
    | PutQuarantine
    | PutWorker
    | TrimWorkers
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
