"""`InvokeFunction`: run another function and go on with its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.invoking import Payload, fail_invoke, start_invoke
from stepwell.engine.ops.times import YEAR, read_until
from stepwell.engine.waits import is_known
from stepwell.errors import WireError
from stepwell.wire.json import decode
from stepwell.wire.ops import LABEL_CHARS_MAX
from stepwell.wire.quoting import shortened

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op


class _Opts(msgspec.Struct):
    function_id: str | None = None
    payload: Payload | None = None
    timeout: str | None = None


_OPTS = msgspec.json.Decoder(_Opts | None)


def apply(report: Report, op: Op) -> None:
    """Invoke. A function that is not there fails the step, which the SDK can catch."""
    try:
        opts = _OPTS.decode(op.opts) or _Opts()
        decode(bytes(op.opts))  # the payload becomes an event, which conditions must read
    except (msgspec.DecodeError, WireError) as error:
        report.fail_run(name="InvalidOptions", message=f"Invoke function: {error}")
        return
    until_ms = read_until(report, op, opts.timeout or YEAR, "invoke timeout", bounded=False)
    if until_ms is None or is_known(report.run, op.id):
        return
    report.is_fruitful = True
    function = opts.function_id or ""
    target = report.turn.owner.catalog.named(function)
    if target is None:
        fail_invoke(
            report.turn,
            report.run,
            step_id=op.id,
            name=op.label,
            function=shortened(function, LABEL_CHARS_MAX),
        )
        return
    start_invoke(
        report.turn,
        report.run,
        step_id=op.id,
        name=op.label,
        target=target,
        payload=opts.payload or Payload(),
        until_ms=until_ms,
    )
