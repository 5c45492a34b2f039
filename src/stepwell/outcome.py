"""What a call ends with, ready for any transport: operations, a result, or an error.

Source: docs/reference/wire/http-sdk.md, "outcomes".
"""

from __future__ import annotations

import traceback
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Literal

import msgspec

from stepwell.error_text import message_of, sendable
from stepwell.errors import (
    ConfigError,
    NonRetriableError,
    RetryAfterError,
    StepError,
    StepwellError,
)

RETRY_AFTER_S_MAX: Final = 86_400  # What the server clamps to, so no more is worth sending.
_STACK_CHARS_MAX = 32 * 2**10
_FINAL_CODES = frozenset(
    {"output_unserializable", "output_too_large", "ops_too_many", "step_not_awaited"}
)


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


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong in a call, for the worker's log.

    Attributes:
        step_id: The user's id of the step that failed; None if the function did.
        final: Whether the worker knows that it is not tried again.
    """

    error: BaseException
    step_id: str | None
    final: bool


class _ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    name: str
    stack: str | None


def error_outcome(error: BaseException, *, no_retry: bool | None = None) -> Outcome:
    """The function-level outcome for an error, small enough for any transport.

    Args:
        no_retry: Overrides what the class of the error says.
    """
    body = _ErrorBody(
        code=sendable(error.code) if isinstance(error, StepwellError) else "unknown",
        message=message_of(error),
        name=error_name(error),
        stack=_step_stack(error) if isinstance(error, StepError) else stack_text(error),
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
    return sendable(error.name if isinstance(error, StepError) else type(error).__name__)


def retry_after_text(when: int | timedelta | datetime) -> str:
    """Seconds, rounded up, or an instant. Relative times stay relative: clocks differ."""
    if isinstance(when, datetime):
        return when.isoformat(timespec="milliseconds")
    ms = -(-when // timedelta(milliseconds=1)) if isinstance(when, timedelta) else when
    return str(min(max(-(-ms // 1000), 1), RETRY_AFTER_S_MAX))


def stack_text(error: BaseException) -> str:
    """The traceback as text, with the frames that `user_frames` gives.

    The cause of an error that we raise is left out if it too is all ours: the error tells it.
    """
    try:
        told = traceback.TracebackException(type(error), error, user_frames(error))
        cause = error.__cause__
        if (
            isinstance(error, StepwellError)
            and cause is not None
            and cause.__traceback__ is not None
            and user_frames(cause) is None
        ):
            told.__cause__ = None
        text = "".join(told.format())
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # the error's class has a part in it
        return f"the traceback cannot be had: {type(failure).__name__}"
    return sendable(text if len(text) <= _STACK_CHARS_MAX else text[:_STACK_CHARS_MAX] + "\n...")


def _step_stack(error: StepError) -> str | None:
    """The stack of the step itself, as the worker that ran it told it."""
    return None if error.stack is None else sendable(error.stack)


def user_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame that is not ours.

    Of an error that we raise, such as a `ConfigError`, to the last one that is not: the line of
    the program that made the mistake.
    """
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    if not isinstance(error, StepwellError):
        return frames
    kept: list[TracebackType] = []
    while frames is not None:
        kept.append(frames)
        frames = frames.tb_next
    while kept and _is_ours(kept[-1]):
        kept.pop()
    for frame in reversed(kept):
        frames = TracebackType(frames, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return frames


def _is_ours(frames: TracebackType) -> bool:
    return str(frames.tb_frame.f_globals.get("__name__")).startswith("stepwell.")


_ENCODER = msgspec.json.Encoder()

UNTOLD: Final = Outcome(
    kind="error",
    body=_ENCODER.encode(
        _ErrorBody(
            code="internal_error",
            message="the call failed, and so did telling how; the worker's log has more",
            name="StepwellError",
            stack=None,
        )
    ),
)
"""What a call ends with when its own outcome cannot be made: no call goes unreported."""
