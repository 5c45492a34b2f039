"""Which configuration of an app is in force when workers of several versions are connected.

A *version* is one configuration of one app, known by its checksum, from the time when its first
worker came. Registration is app-wide and the last one counts, so a rolling deploy would flap if
every worker registered what it has. The rules instead:

1. A worker whose version is in force already registers nothing anew.
2. A version is put in force when a worker of it comes, unless a newer version is here.
3. When the version in force is no longer here, the newest one that is here is put in force.

A version is *here* while a worker of it is connected, and for the reconnect grace after its last
worker was cut off; a worker that closes its socket in good order has left at once.

The memory is soft. After a restart of the server the versions' ages are unknown, so for the
first grace a strange version is taken for older than the one that the restart found in force, if
that one's workers are back already: those who come then are mostly those who were there before. A
version that is really new then waits until the old one's workers have gone (rule 3). Doubt: if
workers of an old version come back first and those of the one in force never do, the old one is
put in force.
Source: docs/reference/wire/connect.md, "sync".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.wire.functions import Registration

if TYPE_CHECKING:
    from collections.abc import Callable

ABSENT_VERSIONS_KEPT = 20
"""Versions of an app that are remembered without a worker, so that their age stays known."""

RETRY_LEAST_MS = 1_000
"""Between two tries to put a version in force, however short the grace is."""


class _Version(msgspec.Struct, kw_only=True):
    registration: Registration
    since_ms: int
    connections: set[str]
    from_before: bool  # it was in force before its first worker came: since an earlier life
    here_until_ms: int = 0  # after its last connection was cut off
    sync_id: str | None = None

    def is_here(self, now_ms: int) -> bool:
        return bool(self.connections) or now_ms < self.here_until_ms


class Versions:
    """The versions of all apps. `in_force` gives the checksum that an app has registered."""

    def __init__(
        self, *, in_force: Callable[[str], str | None], grace_ms: int, now_ms: int
    ) -> None:
        self._in_force = in_force
        self._grace_ms = grace_ms
        self._ages_known_ms = now_ms + grace_ms
        self._apps: dict[str, dict[str, _Version]] = {}

    def arrived(self, connection_id: str, registration: Registration, now_ms: int) -> bool:
        """A worker with this configuration is here; returns whether to register it now."""
        versions = self._apps.setdefault(registration.app_name, {})
        version = versions.get(registration.checksum)
        if version is None:
            version = versions[registration.checksum] = _Version(
                registration=registration,
                since_ms=self._since(registration.app_name, now_ms),
                connections=set(),
                from_before=registration.checksum == self._in_force(registration.app_name),
            )
        version.connections.add(connection_id)
        if registration.checksum == self._in_force(registration.app_name):
            return version.sync_id is None
        return not any(
            other.since_ms > version.since_ms and other.is_here(now_ms)
            for other in versions.values()
        )

    def registered(self, registration: Registration, sync_id: str) -> None:
        """The registration that `arrived` or `take_due` asked for is stored."""
        version = self._find(registration)
        if version is not None:
            version.sync_id = sync_id

    def departed(
        self, connection_id: str, registration: Registration, *, cut_off: bool, now_ms: int
    ) -> None:
        """A worker has gone.

        Args:
            cut_off: It did not say that it leaves, so it may come back within the grace.
        """
        version = self._find(registration)
        if version is None:
            return
        version.connections.discard(connection_id)
        if version.connections:
            return
        version.here_until_ms = now_ms + self._grace_ms if cut_off else 0
        versions = self._apps[registration.app_name]
        absent = [key for key, other in versions.items() if not other.is_here(now_ms)]
        for key in absent[:-ABSENT_VERSIONS_KEPT]:
            del versions[key]

    def refused(self, connection_id: str, registration: Registration) -> None:
        """The worker did not get in: it is as if it had not come."""
        version = self._find(registration)
        if version is None:
            return
        version.connections.discard(connection_id)
        if not version.connections and version.sync_id is None:
            del self._apps[registration.app_name][registration.checksum]

    def since_ms(self, registration: Registration) -> int:
        """When the first worker of this version came."""
        version = self._find(registration)
        assert version is not None, "asked while a worker of this version is here"
        return version.since_ms

    def sync_id(self, registration: Registration) -> str | None:
        """The id of this version's last registration, None if it was never in force."""
        version = self._find(registration)
        return None if version is None else version.sync_id

    def next_wakeup_ms(self, now_ms: int) -> int | None:
        """When `take_due` may have something to give."""
        times = [
            max(now_ms, version.here_until_ms)
            for app_name, versions in self._apps.items()
            for version in self._superseded(app_name, versions)
        ]
        return min(times, default=None)

    def take_due(self, now_ms: int) -> list[Registration]:
        """What to register because the version in force is no longer here (rule 3).

        What was given and could not be stored is given again after another grace.
        """
        due: list[Registration] = []
        for app_name, versions in self._apps.items():
            for version in self._superseded(app_name, versions):
                if now_ms >= version.here_until_ms:
                    version.here_until_ms = now_ms + max(self._grace_ms, RETRY_LEAST_MS)
                    newest = max(
                        (other for other in versions.values() if other.connections),
                        key=lambda other: other.since_ms,
                    )
                    due.append(newest.registration)
        return due

    def _superseded(self, app_name: str, versions: dict[str, _Version]) -> list[_Version]:
        """The version in force, if no worker of it is connected and one of another version is."""
        version = versions.get(self._in_force(app_name) or "")
        if version is None or version.connections:
            return []
        return [version] if any(other.connections for other in versions.values()) else []

    def _since(self, app_name: str, now_ms: int) -> int:
        current = self._apps[app_name].get(self._in_force(app_name) or "")
        if current is None or not current.from_before or not current.connections:
            return now_ms
        return current.since_ms - 1 if now_ms < self._ages_known_ms else now_ms

    def _find(self, registration: Registration) -> _Version | None:
        return self._apps.get(registration.app_name, {}).get(registration.checksum)
