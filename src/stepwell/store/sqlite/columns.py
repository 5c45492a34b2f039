"""How values that are not plain columns are kept: step ids, lists of ids, bounds of ids."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from stepwell.wire.ids import RunId

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHA1_HEX = re.compile(r"[0-9a-f]{40}")
_ID_BYTES = 16
_MS_END = 2**48

ABOVE_ALL_IDS = b"\xff" * (_ID_BYTES + 1)


@functools.lru_cache(maxsize=4096)
def step_column(step_id: str) -> bytes | str:
    """A step id as it is kept: 40 hex characters as 20 bytes, any other as text."""
    return bytes.fromhex(step_id) if _SHA1_HEX.fullmatch(step_id) else step_id


def step_text(column: bytes | str) -> str:
    """The step id that `step_column` was given."""
    return column.hex() if isinstance(column, bytes) else column


def runs_column(run_ids: Sequence[RunId]) -> bytes | None:
    """Run ids joined; None for none, which takes no space."""
    return b"".join(run_ids) if run_ids else None


def runs_tuple(column: bytes | None) -> tuple[RunId, ...]:
    """The run ids that `runs_column` was given."""
    if column is None:
        return ()
    return tuple(
        RunId(column[start : start + _ID_BYTES]) for start in range(0, len(column), _ID_BYTES)
    )


def lowest_id(after: bytes | None, from_ms: int | None) -> bytes:
    """The first key that is behind `after` and not before `from_ms`; a bound, not an id."""
    # Nothing sorts between a key and the same key with a zero byte behind it.
    low = b"" if after is None else after + b"\0"
    return low if from_ms is None else max(low, _first_id_of(from_ms))


def id_end(before: bytes | None, until_ms: int | None) -> bytes:
    """The first key that is not below `before`, or not before `until_ms`; a bound, not an id."""
    end = ABOVE_ALL_IDS if before is None else before
    return end if until_ms is None else min(end, _first_id_of(until_ms))


def _first_id_of(ms: int) -> bytes:
    if ms >= _MS_END:
        return ABOVE_ALL_IDS
    return max(0, ms).to_bytes(6, "big")
