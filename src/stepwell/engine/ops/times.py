"""The time at which a step gives up waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stepwell.errors import WireError
from stepwell.wire.durations import sleep_until_ms
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op

WAIT_MS_MAX: Final = 366 * 86_400_000
YEAR: Final = "365d"


def read_until(report: Report, op: Op, text: str, what: str, *, bounded: bool = True) -> int | None:
    """When the text says, a duration or an instant; empty is now.

    None if the run was failed instead: it cannot be read, or lies too far off (if `bounded`).
    """
    try:
        until_ms = sleep_until_ms(text, report.now_ms)
    except WireError as error:
        report.fail_run(
            name="InngestErrInvalidTimeout",
            message=f"The {what} of step {quoted(op.label)}: {error.message}",
        )
        return None
    if until_ms - report.now_ms > WAIT_MS_MAX:
        if not bounded:
            return report.now_ms + WAIT_MS_MAX
        report.fail_run(
            name="InngestErrTimeoutTooLong",
            message=f"The {what} {quoted(text)} expires more than one year in the future; "
            "timeouts may last at most one year.",
        )
        return None
    return until_ms
