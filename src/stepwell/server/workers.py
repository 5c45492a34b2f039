"""The book of workers: every connection that authenticated, and what became of it.

Written by the gateway. It is soft state: `worker_history` stores what has to last, and whoever asks
for workers asks there. Source: docs/reference/wire/connect.md, "observability".
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

DISCONNECTED_KEPT_MAX = 1_000
"""Connections that ended stay in the book until they are stored, or this many ended after them."""


class WorkerStatus(StrEnum):
    """The names are what the API and the command line show."""

    CONNECTED = "CONNECTED"  # authenticated; not yet synced, or not yet ready for calls
    READY = "READY"
    DRAINING = "DRAINING"  # leaving: takes no new calls
    DISCONNECTING = "DISCONNECTING"  # the closing handshake is under way
    DISCONNECTED = "DISCONNECTED"


class WorkerApp(msgspec.Struct, frozen=True, kw_only=True):
    """One app of a connection. `app_id`, `sync_id` and `group_hash` are None until it was synced.

    Connections with the same configuration of an app have the same `group_hash`.
    """

    name: str
    version: str | None
    function_count: int
    app_id: str | None = None
    sync_id: str | None = None
    group_hash: str | None = None


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one connection. Times are milliseconds since the epoch.

    `connected_at_ms` is the time of the start request. `max_worker_concurrency` is None for no
    limit. `disconnect_reason` is one of the wire's names or the text the worker closed with.
    `calls_done` are the calls whose answers it brought. Fields that are added have a default:
    what was stored before does not have them.
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
    calls_done: int = 0

    @property
    def app_names(self) -> tuple[str, ...]:
        return tuple(app.name for app in self.apps)

    @property
    def is_live(self) -> bool:
        return self.status is not WorkerStatus.DISCONNECTED

    @property
    def is_active(self) -> bool:
        """Whether it takes calls."""
        return self.status is WorkerStatus.READY


class WorkerBook:
    """Live connections in the order they came, then the last ones that ended.

    Every method ignores a connection that is not in the book, or has left it: the gateway need
    not know whether a socket got far enough to be entered.
    """

    def __init__(self) -> None:
        self._live: dict[str, WorkerInfo] = {}
        self._ended: OrderedDict[str, WorkerInfo] = OrderedDict()
        self._calls_done: dict[str, int] = {}  # of live ones, which change with every call
        self._listener: Callable[[str], None] | None = None

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call this with the id of each connection that comes, changes its status, or ends.

        A heartbeat or a call is no change.
        """
        self._listener = listener

    def list(self) -> builtins.list[WorkerInfo]:
        """All connections: live ones first, oldest first; then ended ones, latest end first."""
        return [*map(self._with_calls, self._live.values()), *reversed(self._ended.values())]

    def get(self, connection_id: str) -> WorkerInfo | None:
        info = self._live.get(connection_id)
        return self._ended.get(connection_id) if info is None else self._with_calls(info)

    @property
    def live_count(self) -> int:
        return len(self._live)

    def connected(self, info: WorkerInfo) -> None:
        """Enter a connection. One that used the same id before is forgotten."""
        self._ended.pop(info.connection_id, None)
        self._live[info.connection_id] = info
        self._calls_done[info.connection_id] = 0
        self._changed(info.connection_id)

    def synced(self, connection_id: str, apps: tuple[WorkerApp, ...]) -> None:
        """Record what registration made of the connection's apps."""
        if self._update(connection_id, apps=apps):
            self._changed(connection_id)

    def status(self, connection_id: str, status: WorkerStatus) -> None:
        """Record a change of status. Statuses never go backwards: see `WorkerStatus`' order."""
        info = self._live.get(connection_id)
        if info is not None and _ORDER[status] > _ORDER[info.status]:
            self._update(connection_id, status=status)
            self._changed(connection_id)

    def heartbeat(self, connection_id: str, now_ms: int) -> None:
        """Record that the worker was heard. Never changes its status."""
        self._update(connection_id, last_heartbeat_ms=now_ms)

    def answered(self, connection_id: str) -> None:
        """Record that the connection brought the answer to a call."""
        if connection_id in self._calls_done:
            self._calls_done[connection_id] += 1

    def leaving(self, connection_id: str, reason: str) -> None:
        """Record that the connection is being closed, and why."""
        self._update(connection_id, status=WorkerStatus.DISCONNECTING, disconnect_reason=reason)

    def disconnected(self, connection_id: str, now_ms: int) -> None:
        """Record that the socket is gone, and keep the entry among the ended ones."""
        info = self._live.pop(connection_id, None)
        if info is None:
            return
        self._ended[connection_id] = msgspec.structs.replace(
            info,
            status=WorkerStatus.DISCONNECTED,
            disconnected_at_ms=now_ms,
            calls_done=self._calls_done.pop(connection_id),
        )
        while len(self._ended) > DISCONNECTED_KEPT_MAX:
            self._ended.popitem(last=False)
        self._changed(connection_id)

    def forget(self, info: WorkerInfo) -> None:
        """An ended connection is stored as it is in the book, and need not be kept here."""
        if self._ended.get(info.connection_id) is info:
            del self._ended[info.connection_id]

    def _update(self, connection_id: str, **changes: object) -> bool:
        info = self._live.get(connection_id)
        if info is None:
            return False
        self._live[connection_id] = msgspec.structs.replace(info, **changes)
        return True

    def _with_calls(self, info: WorkerInfo) -> WorkerInfo:
        return msgspec.structs.replace(info, calls_done=self._calls_done[info.connection_id])

    def _changed(self, connection_id: str) -> None:
        if self._listener is not None:
            self._listener(connection_id)


_ORDER = {status: place for place, status in enumerate(WorkerStatus)}
