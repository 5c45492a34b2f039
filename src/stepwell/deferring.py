"""Functions that a run defers until it is over: `ctx.step.defer`.

Source: docs/reference/wire/waits.md, "DeferAdd and DeferAbort".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.errors import ConfigError
from stepwell.step_options import deferral, function_slug, withdrawal

if TYPE_CHECKING:
    from stepwell.execution import Execution
    from stepwell.function import Function


class Deferred:
    """A function that will start when this run is over."""

    def __init__(self, execution: Execution, hashed: str, step_id: str) -> None:
        self._execution = execution
        self._hashed = hashed
        self._step_id = step_id

    def abort(self) -> None:
        """Do not start it after all."""
        name = self._execution.meet(f"{self._step_id}:abort", rides=True)
        self._execution.withdraw(name, self._hashed, withdrawal(self._hashed))


def defer(execution: Execution, step_id: str, function: Function[Any], data: object) -> Deferred:
    """Record a deferred function; see `Step.defer`.

    Raises:
        ConfigError: It is no function, or none that would start; or its data is no object.
    """
    options = deferral(function_slug(function), data)
    if not function.starts_deferred:
        raise ConfigError(
            f"function {function.id!r} is deferred and would not start: add TriggerDeferred() to "
            "its triggers"
        )
    name = execution.meet(step_id, rides=True)
    execution.defer(name, options)
    return Deferred(execution, name.hashed, step_id)
