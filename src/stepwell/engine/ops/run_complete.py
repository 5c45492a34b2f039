"""`RunComplete`: the function returned, reported as an op beside the last steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op


def apply(report: Report, op: Op) -> None:
    """Complete the run with the op's data."""
    report.complete_run(bytes(op.data))
