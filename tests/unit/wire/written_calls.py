"""A call from everything that is in it, as the server writes it in parts."""

from __future__ import annotations

from typing import Any

from stepwell.wire.calls import encode_call, encode_rest, encode_step

_OF_THIS_CALL = {
    "attempt",
    "max_attempts",
    "fn_id",
    "request_id",
    "job_id",
    "generation",
    "disable_immediate_execution",
    "qi_id",
}


def written_call(*, steps: list[tuple[str, bytes]], **given: Any) -> bytes:
    """Write a call.

    Args:
        steps: Ids and memos, in any order.
        given: What else `encode_call` and `encode_rest` take.
    """
    shared = {name: value for name, value in given.items() if name not in _OF_THIS_CALL}
    rest = encode_rest(steps=[encode_step(*step) for step in sorted(steps)], **shared)
    return encode_call(
        rest=rest, **{name: value for name, value in given.items() if name in _OF_THIS_CALL}
    )
