"""Objects whose keys peers spell in any letter case, and where `null` means absent.

The official SDKs rely on both: one sends `appname`, another `Singleton`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_V = TypeVar("_V")


class FieldNames:
    """The known fields of one kind of object, found whatever their letter case.

    Args:
        names: As they are spelled in the protocol.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_lower = {name.lower(): name for name in names}

    def spell(self, given: Mapping[str, _V]) -> dict[str, _V]:
        """The known fields under their proper names; unknown ones are left out.

        A key that is spelled properly wins over one that is not.
        """
        found: dict[str, _V] = {}
        for key, value in given.items():
            name = self._by_lower.get(key.lower())
            if name is not None and (name not in found or key == name):
                found[name] = value
        return found

    def respell(self, given: Mapping[str, _V]) -> dict[str, _V]:
        """All fields, the known ones under their proper names."""
        known = self.spell(given)
        unknown = {key: value for key, value in given.items() if key.lower() not in self._by_lower}
        return {**known, **unknown}


def without_nulls(fields: Mapping[str, _V]) -> dict[str, _V]:
    """The fields that are not null."""
    return {name: value for name, value in fields.items() if value is not None}
