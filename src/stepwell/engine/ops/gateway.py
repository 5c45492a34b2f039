"""`Gateway` and `AIGateway`: the server makes a request for the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.requesting import start_request
from stepwell.engine.rows import HistoryKind
from stepwell.engine.waits import is_known

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op


def apply(report: Report, op: Op) -> None:
    """Have any address asked."""
    _start(report, op, HistoryKind.FETCH_STARTED)


def apply_infer(report: Report, op: Op) -> None:
    """Have a provider of AI asked."""
    _start(report, op, HistoryKind.INFER_STARTED)


def _start(report: Report, op: Op, kind: HistoryKind) -> None:
    run = report.run
    if is_known(run, op.id) or any(job.step_id == op.id for job in run.state.jobs):
        return
    report.is_fruitful = True
    start_request(report.turn, run, step_id=op.id, name=op.label, kind=kind, options=bytes(op.opts))
