"""Orders that a partition gives. Each may be carried out once its transition is committed."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from stepwell.engine.rows import Write
from stepwell.wire.ids import EventId, RequestId, RunId


class Effect(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of every effect."""


class Dispatch(Effect, frozen=True, kw_only=True, gc=False):
    """Send a call to a worker.

    Attributes:
        step_id: The step to run, or `step` for none in particular.
        stack: Ids of the finished steps, in order of completion.
        current: 1 + the index in `stack` of the step that led to this call, 0 for none.
        plan_only: The SDK reports new steps instead of running one.
        use_api: The steps are too large to send; the SDK fetches them.
        defers: Ids of the steps that deferred a function.
    """

    connection_id: str
    request_id: RequestId
    lease_until_ms: int
    run_id: RunId
    function_no: int
    event_id: EventId
    job_no: int
    step_id: str
    attempt: int
    max_attempts: int
    generation: int
    stack: tuple[str, ...]
    current: int
    plan_only: bool
    version: int
    use_api: bool
    defers: tuple[str, ...] = ()


class Request(Effect, frozen=True, kw_only=True, gc=False):
    """Make a request for a step and report what came of it (`RequestReported`).

    Attributes:
        seq: The run's history row that tells what to ask for.
    """

    request_id: RequestId
    run_id: RunId
    step_id: str
    seq: int
    attempt: int


class Withdraw(Effect, frozen=True, kw_only=True, gc=False):
    """The outcome of a call that is out is not wanted any more: its run was cancelled, or is over
    in another way and the call is a request of the server's own."""

    connection_id: str
    request_id: RequestId


class EventsAccepted(Effect, frozen=True, kw_only=True, gc=False):
    """The events' internal ids, in order of input."""

    ids: tuple[EventId, ...]


class AppRegistered(Effect, frozen=True, kw_only=True, gc=False):
    """The sync is in force. `modified` is false if the app already had this configuration."""

    modified: bool
    app_id: str
    sync_id: str


class AppGone(Effect, frozen=True, kw_only=True, gc=False):
    """Whether there was such an app."""

    found: bool


class RouteTaken(Effect, frozen=True, kw_only=True, gc=False):
    """The route is in force. `modified` is false if it was before."""

    modified: bool


class ReportTaken(Effect, frozen=True, kw_only=True, gc=False):
    """`accepted` is false for a call that is no longer the current one: nothing changed."""

    accepted: bool


class SignalTaken(Effect, frozen=True, kw_only=True, gc=False):
    """The run that waited for the signal; None if none did."""

    run_id: RunId | None


class CancelTaken(Effect, frozen=True, kw_only=True, gc=False):
    """Whether the run was cancelled; if not, it was over, or is not known."""

    cancelled: bool


CheckpointRefusal: TypeAlias = Literal[
    "run_not_found", "call_stale", "op_not_allowed", "run_state_too_large"
]
"""Why a checkpoint is not stored."""


class CheckpointTaken(Effect, frozen=True, kw_only=True, gc=False):
    """`refusal` is None if the steps are stored, else why nothing was."""

    refusal: CheckpointRefusal | None


class FunctionStarted(Effect, frozen=True, kw_only=True, gc=False):
    """An invocation's run and event; None if there is no such function."""

    ids: tuple[RunId, EventId] | None


class Reply(Effect, frozen=True, kw_only=True, gc=False):
    """The answer to the input with this ticket."""

    ticket: int
    result: (
        EventsAccepted
        | AppRegistered
        | AppGone
        | RouteTaken
        | ReportTaken
        | SignalTaken
        | CancelTaken
        | CheckpointTaken
        | FunctionStarted
    )


class RunEnded(Effect, frozen=True, kw_only=True, gc=False):
    """A run is over: what memory holds of its payloads can go."""

    run_id: RunId


Order: TypeAlias = Dispatch | Request | Withdraw | Reply | RunEnded


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn decided: rows to commit, then orders to carry out."""

    writes: list[Write]
    effects: list[Order]
