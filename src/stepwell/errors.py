"""Every error that Stepwell raises, in one tree.

Each error has a stable `code` (its page is `docs/errors/<code>.md`) and, where it can reach an
HTTP client, a `status`. The message says what was seen, what is allowed, and what to do.
"""

from __future__ import annotations

from datetime import datetime, timedelta


class StepwellError(Exception):
    """The root of the tree.

    Args:
        message: What was seen, what is allowed, what to do.
        code: Overrides the class's code where one class serves several causes.
        status: Overrides the class's HTTP status.
    """

    code: str = "internal_error"
    status: int = 500

    def __init__(
        self, message: str = "", *, code: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status


class ConfigError(StepwellError):
    """A setting, a function's options or a command's arguments cannot be used as given."""

    code = "config_invalid"
    status = 400


class WireError(StepwellError):
    """A peer sent something that the protocol does not allow. Never a broken invariant of ours."""

    code = "invalid_request"
    status = 400


class LimitExceeded(StepwellError):
    """A stated limit was passed.

    Args:
        limit: The limit in force, in the unit that the message names.
        seen: What arrived.
        hint: What the caller can do.
    """

    code = "limit_exceeded"
    status = 413

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        status: int | None = None,
        limit: int | None = None,
        seen: int | None = None,
        hint: str = "",
    ) -> None:
        detail = message
        if limit is not None and seen is not None:
            detail += f" (limit {limit}, seen {seen})"
        if hint:
            detail += f"; {hint}"
        super().__init__(detail, code=code, status=status)
        self.limit = limit
        self.seen = seen


class AuthError(StepwellError):
    """A credential is missing or wrong."""

    code = "unauthorized"
    status = 401


class StoreError(StepwellError):
    """The store could not do what was asked."""

    code = "store_error"
    status = 503


class Retryable(StoreError):
    """The commit failed as a whole and may be tried again: nothing of it was stored."""

    code = "store_unavailable"


class Fenced(StoreError):
    """Another owner holds this partition or this data directory."""

    code = "store_fenced"


class StaleReport(StepwellError):
    """A report named a call that is no longer the current one of its job."""

    code = "stale_dispatch"
    status = 409


class OutboundError(StepwellError):
    """A request that the server made for somebody came to nothing: the address may not be
    reached, nobody answered, or the answer is of no use. The message says which, and where."""

    code = "outbound_unreachable"
    status = 502


# --- what users of the SDK raise and catch ---


class NonRetriableError(StepwellError):
    """Raised in a step or a function: fail now, do not try again.

    Args:
        message: Shown on the run.
        cause: The error behind it, if any; `raise ... from` sets it too.
    """

    code = "non_retriable_error"

    def __init__(self, message: str = "", cause: BaseException | None = None) -> None:
        super().__init__(message)
        if cause is not None:
            self.__cause__ = cause


class RetryAfterError(StepwellError):
    """Raised in a step or a function: try again, but not before the given time.

    Args:
        message: Shown on the run.
        retry_after: Milliseconds, a `timedelta`, or an aware `datetime`. The server clamps it to
            between one second and 24 hours from now.
    """

    code = "retry_after_error"

    def __init__(self, message: str, retry_after: int | timedelta | datetime) -> None:
        super().__init__(message)
        if isinstance(retry_after, datetime) and retry_after.tzinfo is None:
            raise ConfigError("retry_after must be an aware datetime; pass tzinfo")
        self.retry_after = retry_after


class StepError(StepwellError):
    """A step failed for good: raised where the function awaits it, and may be caught there.

    Attributes:
        name: The class name of the error that the step raised.
        stack: Its traceback as text, if the worker sent one.
    """

    code = "step_errored"

    def __init__(self, message: str, name: str = "Error", stack: str | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.stack = stack


class SendEventsError(StepwellError):
    """The server refused one or more events, or could not be reached.

    Attributes:
        ids: The internal ids of those that were accepted before the failure.
    """

    code = "send_event_failed"

    def __init__(self, message: str, ids: list[str] | None = None) -> None:
        super().__init__(message)
        self.ids = ids or []
