"""What the gateway gives the runtime for each connection: who it is, and the way to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from stepwell.engine.inputs import WorkerAttached

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


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that takes calls.

    `limit` is of the instance, None for no limit; `functions` are (app name, slug) pairs;
    `version_ms` is when the first connection of this worker version came.
    """

    connection_id: str
    instance_id: str
    limit: int | None
    functions: frozenset[tuple[str, str]]
    version_ms: int
    port: WorkerPort


def attached_input(worker: Attached) -> WorkerAttached:
    """The fact that the partition is told."""
    return WorkerAttached(
        connection_id=worker.connection_id,
        instance_id=worker.instance_id,
        limit=worker.limit,
        functions=worker.functions,
        version_ms=worker.version_ms,
    )
