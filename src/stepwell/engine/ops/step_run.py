"""`StepRun`: a step's body returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stepwell.engine.rows import StepKind

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op


_RUN: Final = StepKind.RUN  # needed with each step


def apply(report: Report, op: Op) -> None:
    """Remember `{"data": X}`. A second outcome of the same step changes nothing."""
    report.complete_step(op, _RUN, bytes(op.data))


def apply_legacy(report: Report, op: Op) -> None:
    """`Step`, the older spelling: the value is remembered as it came."""
    report.complete_step(op, StepKind.LEGACY, bytes(op.data))
