"""What the gateway gives the runtime for each connection: who it is, and the way to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from stepwell.engine.inputs import WorkerAttached

if TYPE_CHECKING:
    from stepwell.engine.effects import Request
    from stepwell.server.dispatch.http_call import HttpCall
    from stepwell.wire.ids import RequestId

MakeHttpCall: TypeAlias = "Callable[[], HttpCall | None]"
"""Gives a call as an HTTP request; None if nobody waits for it any more. Never raises."""

MakeCall: TypeAlias = Callable[[], "tuple[str, bytes] | None"]
"""Gives a call's request id and its serialised `GatewayExecutorRequestData`; None if nobody waits
for the call any more. Never raises."""


class WorkerPort(Protocol):
    """The way to one connection."""

    def send_call(self, make: MakeCall) -> None:
        """Buffer a call; it is made when there is room for it on the way to the worker."""
        ...

    def flush(self) -> None:
        """Write what is buffered; called once after each commit."""
        ...

    def withdraw(self, request_id: RequestId) -> None:
        """The run of a call was cancelled: let its worker stop, if there is a way to tell it."""
        ...


class HttpPort(Protocol):
    """The way to an app that is served over HTTP."""

    def post_call(self, make: MakeHttpCall) -> None:
        """Make the call; what comes of it is reported to the runtime."""
        ...

    def withdraw(self, request_id: RequestId) -> None:
        """The run of a call was cancelled: its app need not answer any more."""
        ...


class Requester(Protocol):
    """Makes the requests that steps ask of the server."""

    def start(self, request: Request) -> None:
        """Begin; what comes of it is reported to the runtime."""
        ...

    def withdraw(self, request_id: RequestId) -> None:
        """Nobody waits for it any more."""
        ...


class Taker(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes calls.

    `limit` is of the instance, None for no limit; `functions` are (app name, slug) pairs;
    `version_ms` is when the first connection of this worker version came; `versions` has what each
    of its apps calls its version, for runs that are pinned to theirs.
    """

    connection_id: str
    instance_id: str
    limit: int | None
    functions: frozenset[tuple[str, str]]
    version_ms: int
    versions: Mapping[str, str] = {}


class Attached(Taker, frozen=True, kw_only=True):
    """A worker's connection that takes calls."""

    port: WorkerPort


class AttachedApp(Taker, frozen=True, kw_only=True):
    """An app on a host that is called over HTTP."""

    port: HttpPort


def attached_input(worker: Taker) -> WorkerAttached:
    """The fact that the partition is told."""
    return WorkerAttached(
        connection_id=worker.connection_id,
        instance_id=worker.instance_id,
        limit=worker.limit,
        functions=worker.functions,
        version_ms=worker.version_ms,
        versions=worker.versions,
    )
