"""`Sleep`: go on at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.errors import WireError
from stepwell.wire.durations import sleep_until_ms
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op

SLEEP_MS_MAX = 366 * 86_400_000


class _Opts(msgspec.Struct):
    duration: str | None = None


_OPTS = msgspec.json.Decoder(_Opts | None)


def apply(report: Report, op: Op) -> None:
    """Put the run to sleep until then. A time that cannot be read, or too far, fails the run."""
    text = op.name
    try:
        opts = _OPTS.decode(op.opts)
    except msgspec.DecodeError:
        opts = None
    if opts is not None and opts.duration is not None:
        text = opts.duration
    try:
        due_ms = sleep_until_ms(text, report.now_ms)
    except WireError as error:
        report.fail_run(
            name="InngestErrInvalidSleep",
            message=f"step {quoted(op.label)} cannot sleep until {quoted(text)}: {error.message}",
        )
        return
    if due_ms - report.now_ms > SLEEP_MS_MAX:
        report.fail_run(
            name="InngestErrTimeoutTooLong",
            message=f"step {quoted(op.label)} sleeps for more than 366 days, the longest time",
        )
        return
    report.start_sleep(op, due_ms)
