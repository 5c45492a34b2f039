"""Connections that take calls, the slots of their instances, and which of them gets a call.

Soft state: nothing of it is stored, except the instance's name in a leased job, so that the slot
stays taken over a restart. Source: docs/reference/wire/connect.md, "routing" and "concurrency".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, KeysView

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

    __slots__ = ("connection_id", "credit", "functions", "instance", "version_ms")

    def __init__(
        self, connection_id: str, instance: Instance, functions: frozenset[int], version_ms: int
    ) -> None:
        self.connection_id = connection_id
        self.instance = instance
        self.functions = functions
        self.version_ms = version_ms
        self.credit = 0.0


class Workers:
    """All attached connections, and the slots in use."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._instances: dict[str, Instance] = {}
        self._by_function: dict[int, list[Connection]] = {}

    def attach(
        self,
        connection_id: str,
        *,
        instance_id: str,
        limit: int | None,
        functions: Iterable[int],
        version_ms: int,
    ) -> frozenset[int]:
        """Add a connection; returns its functions. The latest limit of an instance holds."""
        self.detach(connection_id)
        instance = self._instance(instance_id)
        instance.limit = LIMIT_DEFAULT if limit is None else limit
        instance.connections += 1
        connection = Connection(connection_id, instance, frozenset(functions), version_ms)
        self._connections[connection_id] = connection
        for no in sorted(connection.functions):
            self._by_function.setdefault(no, []).append(connection)
        return connection.functions

    def detach(self, connection_id: str) -> None:
        """Give no more calls to this connection. Idempotent."""
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return
        for no in connection.functions:
            others = self._by_function[no]
            others.remove(connection)
            if not others:
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

    def pick(self, function_no: int) -> Connection | None:
        """The connection that gets the next call, None while no slot is free.

        Among several, smooth weighted round robin: the newest version weighs ten times the
        oldest, equal versions the same.
        """
        connections = self._by_function.get(function_no)
        if not connections:
            return None
        if len(connections) == 1:
            only = connections[0]
            return only if only.instance.in_use < only.instance.limit else None
        free = [c for c in connections if c.instance.in_use < c.instance.limit]
        if not free:
            return None
        oldest = min(c.version_ms for c in free)
        span = max(c.version_ms for c in free) - oldest
        total = 0.0
        for connection in free:
            age = (connection.version_ms - oldest) / span if span else 0.0
            weight = 1 + (_WEIGHT_MAX - 1) * age
            connection.credit += weight
            total += weight
        chosen = max(free, key=lambda c: (c.credit, -c.instance.in_use))
        chosen.credit -= total
        return chosen

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

    def _instance(self, instance_id: str) -> Instance:
        instance = self._instances.get(instance_id)
        if instance is None:
            instance = self._instances[instance_id] = Instance(instance_id)
        return instance

    def _forget(self, instance: Instance) -> None:
        if not instance.connections and not instance.in_use:
            self._instances.pop(instance.instance_id, None)
