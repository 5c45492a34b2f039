"""Remembered results, as a call brings them: a value, a failure, or other arguments for a step.

Source: docs/reference/wire/http-sdk.md, "steps".
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stepwell.errors import StepError
from stepwell.wire.ops import OpError


class Memo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wrappers of remembered results, of which one has one key.

    Attributes:
        data: What the step gave.
        error: It failed for good.
        input: It has no result yet, and begins with these arguments: the run was restarted from it.
    """

    data: Any = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    input: list[Any] | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(Memo)
_UNSET: Final = msgspec.UNSET


def read_memo(raw: msgspec.Raw) -> Memo:
    """Read a remembered result; a value in none of the wrappers is itself the data."""
    try:
        memo = _DECODER.decode(raw)
    except msgspec.ValidationError:
        return Memo(data=msgspec.json.decode(raw))
    if (memo.data is not _UNSET) + (memo.error is not _UNSET) + (memo.input is not _UNSET) != 1:
        return Memo(data=msgspec.json.decode(raw))  # none of the keys, or several: not a wrapper
    return memo


def step_error(raw: msgspec.Raw) -> StepError:
    """The error of a remembered step, however its SDK or the server wrote it."""
    try:
        error = msgspec.json.decode(raw, type=OpError)
    except msgspec.ValidationError:
        value = msgspec.json.decode(raw)
        fields = value if isinstance(value, dict) else {"message": value}
        name, message, stack = (fields.get(key) for key in ("name", "message", "stack"))
        return StepError(
            "" if message is None else str(message),
            "Error" if name is None else str(name),
            None if stack is None else str(stack),
        )
    return StepError(error.message, error.name, error.stack)
