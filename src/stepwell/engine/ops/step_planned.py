"""`StepPlanned`: a step was found and not run, because its siblings run beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op


def apply(report: Report, op: Op) -> None:
    """Queue a call that is aimed at this step. One that is planned or done already stays so."""
    report.plan_step(op)
