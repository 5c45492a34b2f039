"""`WaitForSignal`: go on when somebody sends a signal of this name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.ops.times import YEAR, read_until
from stepwell.engine.rows import WatchKind
from stepwell.engine.waits import is_known, start_signal_wait
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op


SIGNAL_CHARS_MAX = 1_024
"""It is a key of rows."""


class _Opts(msgspec.Struct):
    signal: str | None = None
    timeout: str | None = None
    conflict: str | None = None


_OPTS = msgspec.json.Decoder(_Opts | None)


def signal_of(op: Op) -> str:
    """The name of the signal; empty if there is none to read."""
    try:
        opts = _OPTS.decode(op.opts) or _Opts()
    except msgspec.DecodeError:
        return ""
    return opts.signal or op.name


def apply(report: Report, op: Op) -> None:
    """Wait, unless another run does: then this run fails, or takes its place if it says so."""
    signal = signal_of(op)
    if not signal:
        report.fail_run(name="InvalidOptions", message="Wait for signal: there is no signal")
        return
    if len(signal) > SIGNAL_CHARS_MAX:
        report.fail_run(
            name="InvalidOptions",
            message=f"Wait for signal: a signal may have {SIGNAL_CHARS_MAX} characters, this has "
            f"{len(signal)}",
        )
        return
    opts = _OPTS.decode(op.opts) or _Opts()
    until_ms = read_until(
        report, op, opts.timeout or YEAR, "wait-for-signal timeout", bounded=False
    )
    if until_ms is None or is_known(report.run, op.id):
        return
    turn = report.turn
    other = turn.signals.get(signal)
    watch_id = None if other is None else other[1].watch_id
    if watch_id is None and signal in report.signals:
        watch_id, _run_id = report.signals[signal]
        if watch_id in turn.signals_over:
            watch_id = None
    if watch_id is not None:
        if (opts.conflict or "fail").lower() != "replace":
            report.fail_run(
                name="Error",
                message="Signal conflict; signal wait already exists for another run: "
                + quoted(signal),
            )
            return
        turn.delete_watch(WatchKind.SIGNAL, signal, "", b"", watch_id)
    report.is_fruitful = True
    start_signal_wait(
        turn, report.run, step_id=op.id, name=op.label, signal=signal, until_ms=until_ms
    )
