"""Why a run was cancelled, read from the history row that says so.

Source: docs/reference/http-api.md, "Cancelling a run".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.rows import HistoryKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.store.interface import HistoryRecord


class Cancellation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What cancelled a run, in words such as `a request`; `event` is the name of one that did."""

    reason: str
    event: str | None = None

    @property
    def text(self) -> str:
        return self.reason if self.event is None else f"{self.reason}, {self.event}"


_DECODER = msgspec.json.Decoder(Cancellation)


def read_cancellation(history: Sequence[HistoryRecord]) -> Cancellation | None:
    """What cancelled the run with this history; None if nothing did."""
    for row in reversed(history):
        if row.kind is HistoryKind.CANCELLED and row.payload is not None:
            return _DECODER.decode(row.payload)
    return None
