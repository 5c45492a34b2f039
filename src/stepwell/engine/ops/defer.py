"""`DeferAdd` and `DeferAbort`: what starts when the run is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.deferring import DEFERRAL, add_defer, withdraw_defer
from stepwell.errors import WireError
from stepwell.wire.json import decode

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.engine.state import Run
    from stepwell.engine.turn import Turn
    from stepwell.wire.ops import Op


class _Abort(msgspec.Struct):
    target_hashed_id: str = ""


_ABORT = msgspec.json.Decoder(_Abort)


def apply(report: Report, op: Op) -> None:
    """Remember it, beside whatever else the report brings."""
    add(report.turn, report.run, op)


def apply_abort(report: Report, op: Op) -> None:
    """Forget one again."""
    abort(report.turn, report.run, op)


def add(turn: Turn, run: Run, op: Op) -> None:
    """Remember it; one that cannot be read is left out, and the run goes on."""
    try:
        deferral = DEFERRAL.decode(op.opts)
        decode(bytes(op.opts))  # the input becomes an event, which conditions must read
    except (msgspec.DecodeError, WireError):
        return
    add_defer(turn, run, step_id=op.id, name=op.label, deferral=deferral)


def abort(turn: Turn, run: Run, op: Op) -> None:
    """Forget one again."""
    try:
        target = _ABORT.decode(op.opts).target_hashed_id
    except msgspec.DecodeError:
        return
    withdraw_defer(turn, run, target)
