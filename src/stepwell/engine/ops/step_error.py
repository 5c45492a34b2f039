"""`StepError` and `StepFailed`: a step's body raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.rows import StepKind

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op

NO_ERROR = b'{"name":"Error","message":"the SDK sent no error"}'


def apply(report: Report, op: Op) -> None:
    """Try the call again, or let the step fail for good when that is not allowed."""
    if report.no_retry or report.is_last_attempt:
        apply_failed(report, op)
    else:
        report.retry_step(op, _error(op))


def apply_failed(report: Report, op: Op) -> None:
    """Remember `{"error": X}`: the SDK raises it inside user code, where it can be caught.

    An error that must not be retried says so to the function as well.
    """
    report.complete_step(op, StepKind.FAILED, failed_memo(op, no_retry=report.no_retry))


def failed_memo(op: Op, *, no_retry: bool) -> bytes:
    """The error as the SDK gets it back."""
    error = _error(op)
    if no_retry:
        fields = msgspec.json.decode(error)
        if isinstance(fields, dict):
            error = msgspec.json.encode({**fields, "noRetry": True})
    return error


def _error(op: Op) -> bytes:
    return NO_ERROR if op.error is None else bytes(op.error)
