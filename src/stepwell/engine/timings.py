"""When the steps of a report began and ended, as their SDK has measured it.

SDKs tell the start in nanoseconds since the epoch and the length. Their clocks are not ours: the
last step of a report counts as ended now, and the others lie before it as far as they did there.
Source: docs/reference/wire/ops.md, "timing".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.wire.ops import Op

_NS = 1_000_000
_TOLD_MAX = 2**63  # no clock shows more, and sums of such numbers are exact


class _Timing(msgspec.Struct):
    a: int | float
    b: int | float = 0


_TIMING = msgspec.json.Decoder(_Timing)


def step_times(ops: Sequence[Op], *, since_ms: int, now_ms: int) -> dict[str, tuple[int, int]]:
    """Start and end of those steps that tell them, by step id, in milliseconds of our clock.

    Args:
        since_ms: None of them began before.
    """
    told: dict[str, tuple[int, int]] = {}
    for op in ops:
        if op.timing is msgspec.UNSET:
            continue
        try:
            timing = _TIMING.decode(op.timing)
        except msgspec.DecodeError:
            continue  # what a timeline shows is not worth a refusal
        if 0 <= timing.a < _TOLD_MAX and 0 <= timing.b < _TOLD_MAX:
            start = int(timing.a)
            told.setdefault(op.id, (start, start + int(timing.b)))
    if not told:
        return told
    last = max(end for _, end in told.values())
    times: dict[str, tuple[int, int]] = {}
    for step_id, (start, end) in told.items():
        ended_ms = max(now_ms - (last - end) // _NS, since_ms)
        started_ms = max(ended_ms - (end - start) // _NS, since_ms)
        times[step_id] = (started_ms, ended_ms)
    return times
