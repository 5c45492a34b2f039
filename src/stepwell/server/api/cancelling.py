"""Cancelling a run by request, for every interface that offers it.

Source: docs/reference/http-api.md, "Cancelling a run".
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from stepwell.engine.rows import RunStatus
from stepwell.errors import WireError

if TYPE_CHECKING:
    from stepwell.server.api.context import Context
    from stepwell.wire.ids import RunId


class Cancelled(Enum):
    """What came of it."""

    NOW = auto()
    BEFORE = auto()
    ENDED = auto()  # in another way, before this


async def cancel_run(context: Context, run_id: RunId) -> Cancelled:
    """Cancel a run; durable on return.

    Raises:
        WireError: 404 `not_found`: there is no such run.
        StoreError: Nothing was stored.
    """
    if await context.runtime.cancel_run(run_id):
        return Cancelled.NOW
    run = context.reader.run(run_id)
    if run is None:
        raise WireError("Run not found", code="not_found", status=404)
    return Cancelled.BEFORE if run.status is RunStatus.CANCELLED else Cancelled.ENDED
