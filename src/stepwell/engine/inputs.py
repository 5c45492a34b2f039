"""Facts that a partition decides on.

An input with a `ticket` is answered by one `Reply` effect with the same ticket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from stepwell.wire.events import NewEvent
from stepwell.wire.functions import Registration
from stepwell.wire.ids import EventId, RequestId, RunId
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


class CallReported(Fact, frozen=True, kw_only=True, gc=False):
    """A worker's outcome of a call."""

    ticket: int
    request_id: RequestId
    outcome: Outcome


class WorkerAttached(Fact, frozen=True, kw_only=True, gc=False):
    """A connection takes calls from now on.

    `limit` is for all connections of this instance together, None for no limit of its own.
    `version_ms` is when this version of the worker was first seen: newer ones get more calls.
    """

    connection_id: str
    instance_id: str
    limit: int | None
    functions: frozenset[tuple[str, str]]
    version_ms: int


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
    | CallReported
    | WorkerAttached
    | WorkerDetached
    | WorkerGone
    | RunPoisoned
)
