"""`WaitForEvent`: go on with an event, or at a time without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.ops.times import read_until
from stepwell.engine.waits import is_known, start_event_wait
from stepwell.expressions import ExpressionError, compile_expression
from stepwell.wire.events import NAME_CHARS_MAX

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op


class _Opts(msgspec.Struct):
    event: str | None = None
    condition: str | None = msgspec.field(default=None, name="if")
    timeout: str | None = None


_OPTS = msgspec.json.Decoder(_Opts | None)


def asks_for_own_event(op: Op) -> bool:
    """Whether the condition may speak of the event that started the run."""
    return b'"if"' in bytes(op.opts)


def apply(report: Report, op: Op) -> None:
    """Wait. A condition or a time that means nothing fails the run."""
    try:
        opts = _OPTS.decode(op.opts) or _Opts()
    except msgspec.DecodeError as error:
        report.fail_run(name="InvalidOptions", message=f"Wait for event: {error}")
        return
    event = opts.event or op.name
    if len(event) > NAME_CHARS_MAX:
        report.fail_run(
            name="InvalidOptions",
            message=f"Wait for event: no event has a name of {len(event)} characters",
        )
        return
    until_ms = read_until(report, op, opts.timeout or "", "wait-for-event timeout")
    if until_ms is None:
        return
    condition = None
    if opts.condition:
        try:
            condition = compile_expression(opts.condition).interpolate(report.event or {})
        except ExpressionError as error:
            report.fail_run(
                name="InvalidExpression",
                message=f"Wait for event If expression failed to compile: {error.message}",
            )
            return
    if is_known(report.run, op.id):
        return
    report.is_fruitful = True
    start_event_wait(
        report.turn,
        report.run,
        step_id=op.id,
        name=op.label,
        event=event,
        condition=condition,
        until_ms=until_ms,
    )
