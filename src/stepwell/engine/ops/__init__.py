"""What the engine does with each operation that an SDK reports: one module an op.

Source: docs/reference/wire/ops.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.ops import (
    defer,
    discovery,
    gateway,
    invoke_function,
    run_complete,
    sleep,
    step_error,
    step_planned,
    step_run,
    wait_for_event,
    wait_for_signal,
)
from stepwell.wire import ops as names

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op

Handler: TypeAlias = "Callable[[Report, Op], None]"

HANDLERS: dict[str, Handler] = {
    names.STEP_RUN: step_run.apply,
    names.STEP: step_run.apply_legacy,
    names.STEP_ERROR: step_error.apply,
    names.STEP_FAILED: step_error.apply_failed,
    names.STEP_PLANNED: step_planned.apply,
    names.SLEEP: sleep.apply,
    names.WAIT_FOR_EVENT: wait_for_event.apply,
    names.WAIT_FOR_SIGNAL: wait_for_signal.apply,
    names.INVOKE_FUNCTION: invoke_function.apply,
    names.GATEWAY: gateway.apply,
    names.AI_GATEWAY: gateway.apply_infer,
    names.DEFER_ADD: defer.apply,
    names.DEFER_ABORT: defer.apply_abort,
    names.RUN_COMPLETE: run_complete.apply,
    names.DISCOVERY_REQUEST: discovery.apply,
    names.NONE: discovery.apply_none,
}
"""By canonical name. An op without a handler fails the run: ignoring it would strand the run."""

PENDING_KINDS = frozenset(
    {
        names.STEP_PLANNED,
        names.SLEEP,
        names.WAIT_FOR_EVENT,
        names.WAIT_FOR_SIGNAL,
        names.INVOKE_FUNCTION,
        names.GATEWAY,
        names.AI_GATEWAY,
    }
)
"""Ops whose outcome comes later. A response with one of these makes all its steps pending."""

STEPLESS_KINDS = frozenset(
    {
        names.RUN_COMPLETE,
        names.DISCOVERY_REQUEST,
        names.NONE,
        names.DEFER_ADD,
        names.DEFER_ABORT,
    }
)
"""Ops that are about no step: nothing will ever finish under their ids."""
