"""What the worker's log says of calls that went wrong: one record for each failed attempt.

The server has the error too; this is for the person who looks at the worker's terminal first.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

from stepwell.errors import StepError
from stepwell.outcome import Failure, user_frames

if TYPE_CHECKING:
    from stepwell.execution import Execution
    from stepwell.wire.calls import Call, CallContext

RUNS_REMEMBERED_MAX = 1_000  # How many runs' strays are known before the oldest may be told again.

_LOGGER = logging.getLogger("stepwell.connect")


class Requested(Protocol):
    """What a call was for, whatever brought it."""

    @property
    def function_slug(self) -> str: ...
    @property
    def run_id(self) -> str: ...


class FailureLog:
    """Writes the records. Its methods may be called on any thread."""

    def __init__(self, log: logging.Logger = _LOGGER) -> None:
        self._log = log
        self._strays: dict[str, None] = {}  # runs whose changing step ids were told
        self._lock = threading.Lock()

    def ended(self, request: Requested, call: Call, execution: Execution) -> None:
        """A call has ended, in whatever way."""
        failure = execution.take_failure()
        if failure is not None:
            _tell(self._log, request.function_slug, call, failure)
        stray = execution.strayed()
        if stray is not None and self._is_new(call.ctx.run_id):
            self._log.warning(
                "%s: step %r is new although %s remembered and none of them was met; "
                "step ids must not change between calls (run %s)",
                request.function_slug,
                stray,
                "1 step is" if (count := execution.remembered_count) == 1 else f"{count} steps are",
                call.ctx.run_id,
            )

    def unreadable(self, request: Requested, error: Exception, *, final: bool = False) -> None:
        """A call could not even begin: it cannot be read, or its state cannot be had.

        Args:
            final: The run fails by it, as when its event does not have the declared type.
        """
        if final:
            self._log.error(
                "%s failed and is not tried again: %s (run %s)",
                request.function_slug,
                error,
                request.run_id,
            )
            return
        self._log.warning(
            "%s: a call could not begin and will be tried again: %s (run %s)",
            request.function_slug,
            error,
            request.run_id,
            exc_info=error,
        )

    def untold(self, request: Requested) -> None:
        """A call failed, and so did finding out how. To be called while that is handled."""
        self._log.error(
            "%s: a call failed in a way that could not be told (run %s)",
            request.function_slug,
            request.run_id,
            exc_info=True,
        )

    def _is_new(self, run_id: str) -> bool:
        with self._lock:
            if run_id in self._strays:
                return False
            self._strays[run_id] = None
            if len(self._strays) > RUNS_REMEMBERED_MAX:
                del self._strays[next(iter(self._strays))]
        return True


def _tell(log: logging.Logger, slug: str, call: Call, failure: Failure) -> None:
    error, ctx = failure.error, call.ctx
    if failure.step_id is None and isinstance(error, StepError):
        # The step's own failure was told, with its traceback, by the worker that ran it.
        log.error(
            "%s failed: it did not catch the failure of a step, %s: %s (run %s)",
            slug,
            error.name,
            error.message,
            ctx.run_id,
        )
        return
    log.log(
        logging.ERROR if failure.final else logging.WARNING,
        "%s failed on attempt %d and %s (run %s)",
        slug if failure.step_id is None else f"{slug}: step {failure.step_id!r}",
        ctx.attempt,
        "is not tried again" if failure.final else f"will be tried again{_times_left(ctx)}",
        ctx.run_id,
        exc_info=(type(error), error, user_frames(error)),
    )


def _times_left(ctx: CallContext) -> str:
    if ctx.max_attempts is None:
        return ""
    left = ctx.max_attempts - ctx.attempt - 1
    return ", once more" if left == 1 else f", up to {left} more times"
