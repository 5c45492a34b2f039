"""Connections that take calls, the slots of their instances, and which of them gets a call.

Soft state: nothing of it is stored, except the instance's name in a leased job, so that the slot
stays taken over a restart. Which of a function's two transports a call takes is decided in
`routing`. Source: docs/reference/wire/connect.md, "routing" and "concurrency".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.leases import HTTP_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Iterable, KeysView, Mapping

LIMIT_DEFAULT = 1_000
"""Calls outstanding at an instance that names no limit: a socket is not a queue."""

_WEIGHT_MAX = 10


class Instance:
    """A worker by its own name, over all its connections."""

    __slots__ = ("connections", "in_use", "instance_id", "limit")

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self.limit = LIMIT_DEFAULT
        self.in_use = 0
        self.connections = 0


class Connection:
    """A connection that takes calls."""

    __slots__ = ("connection_id", "functions", "instance", "picked", "version_ms", "versions")

    def __init__(
        self,
        connection_id: str,
        instance: Instance,
        functions: frozenset[int],
        version_ms: int,
        versions: Mapping[int, str],
    ) -> None:
        self.connection_id = connection_id
        self.instance = instance
        self.functions = functions
        self.version_ms = version_ms
        self.versions = versions
        """By function: the version of its app that this connection has; none over HTTP."""
        self.picked = 0
        """When it was picked last, as a count of all picks."""


class Version:
    """The connections that have one function in one version of its app."""

    __slots__ = ("connections", "credit", "name", "since_ms")

    def __init__(self, name: str, since_ms: int) -> None:
        self.name = name
        self.since_ms = since_ms
        self.connections: list[Connection] = []
        self.credit = 0.0


class Serving:
    """Who takes calls of one function."""

    __slots__ = ("http", "versions")

    def __init__(self) -> None:
        self.http: list[Connection] = []
        self.versions: list[Version] = []
        """Of workers, oldest first."""

    def add(self, connection: Connection, name: str) -> None:
        """Take a connection in. `name`: of its version."""
        if is_http(connection):
            self.http.append(connection)
            return
        since_ms = connection.version_ms
        for version in self.versions:
            if version.since_ms == since_ms and version.name == name:
                break
        else:
            version = Version(name, since_ms)
            self.versions.append(version)
            self.versions.sort(key=_age)
        version.connections.append(connection)

    def remove(self, connection: Connection) -> bool:
        """Let a connection go; returns whether nobody is left."""
        if is_http(connection):
            self.http.remove(connection)
        else:
            version = next(each for each in self.versions if connection in each.connections)
            version.connections.remove(connection)
            if not version.connections:
                self.versions.remove(version)
        return not (self.http or self.versions)


def is_http(connection: Connection) -> bool:
    """Whether it is an app that the server calls over HTTP, not a worker."""
    return connection.instance.instance_id.startswith(HTTP_INSTANCES)


class Workers:
    """All attached connections, and the slots in use."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._instances: dict[str, Instance] = {}
        self._by_function: dict[int, Serving] = {}
        self._picks = 0

    def attach(
        self,
        connection_id: str,
        *,
        instance_id: str,
        limit: int | None,
        functions: Iterable[int],
        version_ms: int,
        versions: Mapping[int, str] | None = None,
    ) -> frozenset[int]:
        """Add a connection; returns its functions. The latest limit of an instance holds."""
        self.detach(connection_id)
        instance = self._instance(instance_id)
        instance.limit = LIMIT_DEFAULT if limit is None else limit
        instance.connections += 1
        connection = Connection(
            connection_id, instance, frozenset(functions), version_ms, versions or {}
        )
        self._connections[connection_id] = connection
        for no in sorted(connection.functions):
            serving = self._by_function.get(no)
            if serving is None:
                serving = self._by_function[no] = Serving()
            serving.add(connection, connection.versions.get(no, ""))
        return connection.functions

    def detach(self, connection_id: str) -> None:
        """Give no more calls to this connection. Idempotent."""
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return
        for no in connection.functions:
            if self._by_function[no].remove(connection):
                del self._by_function[no]
        connection.instance.connections -= 1
        self._forget(connection.instance)

    def serves(self, function_no: int) -> bool:
        """Whether any connection takes calls of this function."""
        return function_no in self._by_function

    @property
    def served(self) -> KeysView[int]:
        """Numbers of the functions that connections take calls of."""
        return self._by_function.keys()

    def serving(self, function_no: int) -> Serving | None:
        """Who takes calls of this function, None if nobody does."""
        return self._by_function.get(function_no)

    def has_version(self, function_no: int, name: str) -> bool:
        """Whether a worker has this function in this version of its app."""
        serving = self._by_function.get(function_no)
        return serving is not None and any(each.name == name for each in serving.versions)

    def pick(self, function_no: int, version: str = "") -> Connection | None:
        """The worker's connection that gets the next call, None while no slot is free.

        Versions take turns by weight: each connection weighs what is free of its instance's
        limit, from 0 to 1, and ten times that in the newest version. Within a version it is the
        one with the least in use of its limit, and among equals the one that has waited longest.

        Args:
            version: Only connections that have this version; empty for any.
        """
        serving = self._by_function.get(function_no)
        if serving is None:
            return None
        versions = serving.versions
        if version:
            versions = [each for each in versions if each.name == version]
        if not versions:
            return None
        if len(versions) == 1:
            return self._picked(_least_loaded(versions[0].connections))
        return self._picked(_by_turns(versions))

    def pick_http(self, function_no: int) -> Connection | None:
        """The app that gets the next call over HTTP, None while it has as many as it takes."""
        serving = self._by_function.get(function_no)
        return None if serving is None else self._picked(_least_loaded(serving.http))

    def _picked(self, connection: Connection | None) -> Connection | None:
        if connection is not None:
            self._picks += 1
            connection.picked = self._picks
        return connection

    def take(self, instance_id: str) -> None:
        """A call is outstanding at this instance."""
        instance = self._instances.get(instance_id) or self._instance(instance_id)
        instance.in_use += 1

    def free(self, instance_id: str) -> None:
        """A call of this instance is no longer outstanding."""
        instance = self._instances.get(instance_id)
        assert instance is not None, "a slot is freed where it was taken"
        assert instance.in_use > 0, "a slot is freed once"
        instance.in_use -= 1
        if not instance.in_use:
            self._forget(instance)

    def instance_of(self, connection_id: str) -> str | None:
        """The instance behind an attached connection."""
        connection = self._connections.get(connection_id)
        return None if connection is None else connection.instance.instance_id

    def in_use(self, instance_id: str) -> tuple[int, int]:
        """Calls outstanding at an instance, and its limit."""
        instance = self._instances.get(instance_id)
        return (0, LIMIT_DEFAULT) if instance is None else (instance.in_use, instance.limit)

    def _instance(self, instance_id: str) -> Instance:
        instance = self._instances.get(instance_id)
        if instance is None:
            instance = self._instances[instance_id] = Instance(instance_id)
        return instance

    def _forget(self, instance: Instance) -> None:
        if not instance.connections and not instance.in_use:
            self._instances.pop(instance.instance_id, None)


def _age(version: Version) -> tuple[int, str]:
    return version.since_ms, version.name


def _least_loaded(connections: list[Connection]) -> Connection | None:
    """The one with the least in use of its limit, None if all are full. Per call, so it is kept
    short: some 0.1 us for each connection."""
    found: Connection | None = None
    least = 1.0
    for connection in connections:
        instance = connection.instance
        load = instance.in_use / instance.limit
        if load < least:
            found = connection
            least = load
        elif load == least and found is not None and connection.picked < found.picked:
            found = connection
    return found


def _by_turns(versions: list[Version]) -> Connection | None:
    """Smooth weighted round robin over the versions that have a free slot."""
    oldest_ms = versions[0].since_ms
    span_ms = versions[-1].since_ms - oldest_ms
    total = 0.0
    ready: list[tuple[Version, float]] = []
    for version in versions:
        room = 0.0
        for connection in version.connections:
            instance = connection.instance
            if instance.in_use < instance.limit:
                room += 1 - instance.in_use / instance.limit
        if room:
            age = (version.since_ms - oldest_ms) / span_ms if span_ms else 0.0
            weight = room * (1 + (_WEIGHT_MAX - 1) * age)
            total += weight
            ready.append((version, weight))
    if not ready:
        return None
    chosen = ready[0][0]
    for version, weight in ready:
        version.credit += weight / total
        if version.credit >= chosen.credit:
            chosen = version  # the newer one, if they are equal
    chosen.credit -= 1
    return _least_loaded(chosen.connections)
