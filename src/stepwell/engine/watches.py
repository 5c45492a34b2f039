"""What runs watch for, and where in an event the value must stand that may concern them.

The watches themselves are rows: an event asks the store for those that its own values find. Memory
keeps only which names are watched for at all, and at which places, so that an event that nobody
waits for costs nothing, and one that matches a run costs the same however many others wait.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from stepwell.engine.rows import DeleteWatch, PutWatch, WatchKind
from stepwell.expressions import MISSING, index_value, value_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stepwell.expressions import Expression

Place: TypeAlias = tuple[str, bytes]
"""A path as a JSON array, and the value that an event has there; both empty for anywhere."""

ANYWHERE: Place = ("", b"")

_PATH = msgspec.json.Decoder(tuple[str, ...])


class Watches:
    """Names of events that are watched for, and the paths to look at, with how many do so."""

    def __init__(self) -> None:
        self._paths: dict[str, dict[str, int]] = {}

    def load(self, watched: Iterable[tuple[str, str, int, bytes]]) -> None:
        """Fill from rows: name, path, count, last id."""
        for name, path, count, _newest in watched:
            self._paths.setdefault(name, {})[path] = count

    def has(self, event_name: str) -> bool:
        """Whether any run watches for events of this name."""
        return event_name in self._paths

    def note(self, row: PutWatch | DeleteWatch) -> None:
        """A row was made, or one that was there was deleted."""
        if row.kind is not WatchKind.EVENT:
            return
        paths = self._paths.setdefault(row.subject, {})
        count = paths.get(row.path, 0) + (1 if isinstance(row, PutWatch) else -1)
        assert count >= 0, "only a watch that is there is deleted"
        if count:
            paths[row.path] = count
            return
        del paths[row.path]
        if not paths:
            del self._paths[row.subject]

    def places(self, event_name: str, event: Mapping[str, Any]) -> list[Place]:
        """Where to look for the watches that an event may concern."""
        found: list[Place] = []
        for path in self._paths.get(event_name, ()):
            if not path:
                found.append(ANYWHERE)
                continue
            value = value_at(event, _steps(path))
            indexed = None if value is MISSING else index_value(value)
            if indexed is not None:
                found.append((path, indexed))
        return found


def place_of(expression: Expression | None) -> Place:
    """Where an event must have which value for the condition to hold: the first such place."""
    if expression is not None:
        for equality in expression.equalities():
            value = index_value(equality.value)
            if value is not None:
                return msgspec.json.encode(equality.path).decode(), value
    return ANYWHERE


@lru_cache(maxsize=1_024)
def _steps(path: str) -> tuple[str, ...]:
    return _PATH.decode(path)
