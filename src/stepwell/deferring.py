"""Functions that a run defers until it is over: `ctx.step.defer`.

Source: docs/reference/wire/waits.md, "DeferAdd and DeferAbort".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.errors import ConfigError
from stepwell.step_options import deferral, withdrawal
from stepwell.wire import ops as op_names

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
        self._execution.ride(name, op_names.DEFER_ABORT, withdrawal(self._hashed))


def defer(execution: Execution, step_id: str, function: Function[Any], data: object) -> Deferred:
    """Record a deferred function; see `Step.defer`.

    Raises:
        ConfigError: It is no function, or its data is no object.
    """
    slug = getattr(function, "id", None)
    if not isinstance(slug, str):
        raise ConfigError(f"defer needs a function of the app, this is {function!r}")
    options = deferral(slug, data)
    name = execution.meet(step_id, rides=True)
    execution.ride(name, op_names.DEFER_ADD, options)
    return Deferred(execution, name.hashed, step_id)
