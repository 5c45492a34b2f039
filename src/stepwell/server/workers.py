"""The book of workers: every connection that authenticated, and what became of it.

Written by the gateway, read by the API and the command line. It is soft state: a restart begins
with an empty book. Source: docs/reference/wire/connect.md, "observability".
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import builtins

DISCONNECTED_KEPT_MAX = 1_000
"""Connections that ended stay listed until this many ended after them."""


class WorkerStatus(StrEnum):
    """The names are what the API and the command line show."""

    CONNECTED = "CONNECTED"  # authenticated; not yet synced, or not yet ready for calls
    READY = "READY"
    DRAINING = "DRAINING"  # leaving: takes no new calls
    DISCONNECTING = "DISCONNECTING"  # the closing handshake is under way
    DISCONNECTED = "DISCONNECTED"


class WorkerApp(msgspec.Struct, frozen=True, kw_only=True):
    """One app of a connection. `app_id` and `sync_id` are None until it was synced."""

    name: str
    version: str | None
    function_count: int
    app_id: str | None = None
    sync_id: str | None = None


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one connection. Times are milliseconds since the epoch.

    `connected_at_ms` is the time of the start request. `max_worker_concurrency` is None for no
    limit. `disconnect_reason` is one of the wire's names or the text the worker closed with.
    """

    connection_id: str
    instance_id: str
    apps: tuple[WorkerApp, ...]
    status: WorkerStatus
    connected_at_ms: int
    last_heartbeat_ms: int
    sdk_language: str
    sdk_version: str
    platform: str
    ip: str
    os: str
    cpu_cores: int
    mem_bytes: int
    max_worker_concurrency: int | None
    disconnected_at_ms: int | None = None
    disconnect_reason: str | None = None

    @property
    def app_names(self) -> tuple[str, ...]:
        return tuple(app.name for app in self.apps)

    @property
    def is_live(self) -> bool:
        return self.status is not WorkerStatus.DISCONNECTED


class WorkerBook:
    """Live connections in the order they came, then the last ones that ended.

    Every method ignores a connection that is not in the book, or has left it: the gateway need
    not know whether a socket got far enough to be entered.
    """

    def __init__(self) -> None:
        self._live: dict[str, WorkerInfo] = {}
        self._ended: OrderedDict[str, WorkerInfo] = OrderedDict()

    def list(self) -> builtins.list[WorkerInfo]:
        """All connections: live ones first, oldest first; then ended ones, latest end first."""
        return [*self._live.values(), *reversed(self._ended.values())]

    def get(self, connection_id: str) -> WorkerInfo | None:
        return self._live.get(connection_id) or self._ended.get(connection_id)

    @property
    def live_count(self) -> int:
        return len(self._live)

    def connected(self, info: WorkerInfo) -> None:
        """Enter a connection. One that used the same id before is forgotten."""
        self._ended.pop(info.connection_id, None)
        self._live[info.connection_id] = info

    def synced(self, connection_id: str, apps: tuple[WorkerApp, ...]) -> None:
        """Record what registration made of the connection's apps."""
        self._update(connection_id, apps=apps)

    def status(self, connection_id: str, status: WorkerStatus) -> None:
        """Record a change of status. Statuses never go backwards: see `WorkerStatus`' order."""
        info = self._live.get(connection_id)
        if info is not None and _ORDER[status] > _ORDER[info.status]:
            self._update(connection_id, status=status)

    def heartbeat(self, connection_id: str, now_ms: int) -> None:
        """Record that the worker was heard. Never changes its status."""
        self._update(connection_id, last_heartbeat_ms=now_ms)

    def leaving(self, connection_id: str, reason: str) -> None:
        """Record that the connection is being closed, and why."""
        self._update(connection_id, status=WorkerStatus.DISCONNECTING, disconnect_reason=reason)

    def disconnected(self, connection_id: str, now_ms: int) -> None:
        """Record that the socket is gone, and keep the entry among the ended ones."""
        info = self._live.pop(connection_id, None)
        if info is None:
            return
        self._ended[connection_id] = msgspec.structs.replace(
            info, status=WorkerStatus.DISCONNECTED, disconnected_at_ms=now_ms
        )
        while len(self._ended) > DISCONNECTED_KEPT_MAX:
            self._ended.popitem(last=False)

    def _update(self, connection_id: str, **changes: object) -> None:
        info = self._live.get(connection_id)
        if info is not None:
            self._live[connection_id] = msgspec.structs.replace(info, **changes)


_ORDER = {status: place for place, status in enumerate(WorkerStatus)}
