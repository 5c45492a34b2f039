"""Facts that a partition decides on.

An input with a `ticket` is answered by one `Reply` effect with the same ticket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from stepwell.engine.rows import PutEvent, PutRoute, RunStatus, StepKind
from stepwell.engine.transports import Method
from stepwell.wire.events import NewEvent
from stepwell.wire.functions import Registration
from stepwell.wire.ids import EventId, RequestId, RunId
from stepwell.wire.ops import Op
from stepwell.wire.outcomes import Outcome


class Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of every input."""


class ArrivedEvent(Fact, frozen=True, kw_only=True, gc=False):
    """An event with its internal id. `known`: it is stored already, the request was repeated."""

    event_id: EventId
    event: NewEvent
    known: bool = False


class EventsReceived(Fact, frozen=True, kw_only=True, gc=False):
    """A producer sent events.

    `started` holds the runs that an earlier event of the same producer id started: by function
    number and id, as far as this batch may ask for them.
    """

    ticket: int
    events: tuple[ArrivedEvent, ...]
    started: Mapping[tuple[int, str], RunId]


class AppSynced(Fact, frozen=True, kw_only=True, gc=False):
    """An app said which functions it has. `sync_id` is new each time."""

    ticket: int
    registration: Registration
    sync_id: str


class AppRemoved(Fact, frozen=True, kw_only=True, gc=False):
    """Somebody took an app out of the list, or only one way to it."""

    ticket: int
    app_name: str
    method: Method | None = None


class RouteChosen(Fact, frozen=True, kw_only=True, gc=False):
    """An operator chose how calls go."""

    ticket: int
    route: PutRoute


class CallReported(Fact, frozen=True, kw_only=True, gc=False):
    """A worker's outcome of a call.

    `event` is the run's own event, decoded, if a condition in the outcome may speak of it;
    `signals` has, of the signals that the outcome wants to wait for, those that a run waits for
    already, with that run's watch.
    """

    ticket: int
    request_id: RequestId
    outcome: Outcome
    event: Mapping[str, Any] | None = None
    signals: Mapping[str, tuple[bytes, RunId]] = {}


class CallUnheard(Fact, frozen=True, kw_only=True, gc=False):
    """The worker of this connection was given a call and will not do it."""

    connection_id: str
    request_id: RequestId


class StepsCheckpointed(Fact, frozen=True, kw_only=True, gc=False):
    """Steps that were finished in a call that goes on.

    The call is named by its request id, or by its job and how often that was given out.
    """

    ticket: int
    run_id: RunId
    request_id: RequestId | None
    job_no: int | None
    generation: int | None
    ops: tuple[Op, ...]


class SignalSent(Fact, frozen=True, kw_only=True, gc=False):
    """Somebody sent a signal; `found` is the watch and the run that waits for it."""

    ticket: int
    signal: str
    data: bytes
    found: tuple[bytes, RunId] | None


class FunctionInvoked(Fact, frozen=True, kw_only=True, gc=False):
    """Somebody wants a function to run: JSON objects, and the function's slug or id."""

    ticket: int
    function: str
    data: bytes
    user: bytes | None
    v: str | None


class CancelRequested(Fact, frozen=True, kw_only=True, gc=False):
    """Somebody wants a run to be cancelled."""

    ticket: int
    run_id: RunId


class RequestReported(Fact, frozen=True, kw_only=True, gc=False):
    """What came of a request that the server made for a step.

    `error` is None for one that has an answer, which is `data`; both are JSON.
    """

    request_id: RequestId
    name: str
    kind: StepKind
    data: bytes
    error: bytes | None
    no_retry: bool = False
    retry_at_ms: int | None = None


class EventMatched(Fact, frozen=True, kw_only=True, gc=False):
    """An errand: an event, and watches that it may concern, in order.

    `more` tells that there may be others behind these. `row`
    is given if the event may start functions whose conditions could not be asked before.
    """

    errand_id: bytes
    event_id: EventId
    event: Mapping[str, Any]
    event_json: bytes
    found: tuple[tuple[bytes, RunId], ...]
    more: bool
    row: PutEvent | None = None


class ChildEnded(Fact, frozen=True, kw_only=True, gc=False):
    """An errand: a run that a step invoked is over. No status: it is not there any more."""

    errand_id: bytes
    parent: RunId
    step_id: str
    status: RunStatus | None
    output: bytes | None


class DefersDue(Fact, frozen=True, kw_only=True, gc=False):
    """An errand: a run that deferred functions is over; ids of steps and what they deferred."""

    errand_id: bytes
    run_id: RunId
    function_no: int
    defers: tuple[tuple[str, bytes], ...]


class WorkerAttached(Fact, frozen=True, kw_only=True, gc=False):
    """A connection takes calls from now on.

    `limit` is for all connections of this instance together, None for no limit of its own.
    `version_ms` is when this version of the worker was first seen: newer ones get more calls.
    `versions` has what its apps call their versions, for runs that stay with theirs.
    """

    connection_id: str
    instance_id: str
    limit: int | None
    functions: frozenset[tuple[str, str]]
    version_ms: int
    versions: Mapping[str, str] = {}


class WorkerDetached(Fact, frozen=True, kw_only=True, gc=False):
    """A connection takes no more calls; those that it did not acknowledge go elsewhere."""

    connection_id: str


class WorkerGone(Fact, frozen=True, kw_only=True, gc=False):
    """A connection is lost; calls that it acknowledged are kept for the reconnect grace."""

    connection_id: str


class RunPoisoned(Fact, frozen=True, kw_only=True, gc=False):
    """An input of this run could not be processed: fail the run, so that it is not stranded."""

    run_id: RunId
    message: str


Input: TypeAlias = (
    EventsReceived
    | AppSynced
    | AppRemoved
    | RouteChosen
    | CallReported
    | CallUnheard
    | StepsCheckpointed
    | SignalSent
    | FunctionInvoked
    | CancelRequested
    | RequestReported
    | EventMatched
    | ChildEnded
    | DefersDue
    | WorkerAttached
    | WorkerDetached
    | WorkerGone
    | RunPoisoned
)
