"""What a call ends with, ready for any transport: operations, a result, or an error.

Source: docs/reference/wire/http-sdk.md, "outcomes".
"""

from __future__ import annotations

import traceback
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from stepwell.errors import (
    ConfigError,
    NonRetriableError,
    RetryAfterError,
    StepError,
    StepwellError,
)

RETRY_AFTER_S_MAX: Final = 86_400  # What the server clamps to, so no more is worth sending.
_STACK_CHARS_MAX = 32 * 2**10
_FINAL_CODES = frozenset({"output_unserializable", "output_too_large", "ops_too_many"})


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a call ended with.

    Attributes:
        kind: `ops`: `body` is a JSON array of operations; `result`: the function's return value;
            `error`: an object with code, message, name and stack.
        no_retry: For `error`, the run fails now; for `ops`, the failed step does.
        retry_after: Whole seconds, or an RFC 3339 instant.
    """

    kind: Literal["ops", "result", "error"]
    body: bytes
    no_retry: bool = False
    retry_after: str | None = None


class _ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    name: str
    stack: str | None


def error_outcome(error: BaseException, *, no_retry: bool | None = None) -> Outcome:
    """The function-level outcome for an error.

    Args:
        no_retry: Overrides what the class of the error says.
    """
    if isinstance(error, StepError):
        body = _ErrorBody(
            code=error.code, message=error.message, name=error.name, stack=error.stack
        )
    else:
        code = error.code if isinstance(error, StepwellError) else "unknown"
        body = _ErrorBody(
            code=code, message=str(error), name=error_name(error), stack=stack_text(error)
        )
    retry_after = None
    if isinstance(error, RetryAfterError):
        retry_after = retry_after_text(error.retry_after)
    return Outcome(
        kind="error",
        body=_ENCODER.encode(body),
        no_retry=is_final(error) if no_retry is None else no_retry,
        retry_after=retry_after,
    )


def is_final(error: BaseException) -> bool:
    """Whether trying again cannot help: the program says so, or the program itself is wrong."""
    if isinstance(error, NonRetriableError | StepError | ConfigError):
        return True
    return isinstance(error, StepwellError) and error.code in _FINAL_CODES


def error_name(error: BaseException) -> str:
    """The name under which the run shows this error."""
    return error.name if isinstance(error, StepError) else type(error).__name__


def retry_after_text(when: int | timedelta | datetime) -> str:
    """Seconds, rounded up, or an instant. Relative times stay relative: clocks differ."""
    if isinstance(when, datetime):
        return when.isoformat(timespec="milliseconds")
    ms = -(-when // timedelta(milliseconds=1)) if isinstance(when, timedelta) else when
    return str(min(max(-(-ms // 1000), 1), RETRY_AFTER_S_MAX))


def stack_text(error: BaseException) -> str:
    """The traceback as text, from the first frame that is not ours."""
    frames = error.__traceback__
    while frames is not None and str(frames.tb_frame.f_globals.get("__name__")).startswith(
        "stepwell."
    ):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    return text if len(text) <= _STACK_CHARS_MAX else text[:_STACK_CHARS_MAX] + "\n..."


_ENCODER = msgspec.json.Encoder()
