"""Finding steps that were called and never awaited.

Python only warns of a coroutine that nobody awaits, and the run would go on without the step. So
every step's coroutine is given a `StepCall`, which lives in it until it begins; one that is
dropped before tells the execution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from weakref import ref

    from stepwell.execution import Execution


class StepCall:
    """One call of a step's method, up to its first `await`.

    The coroutine holds the only reference to this, so this is finalised when the coroutine goes:
    thrown away (then it is already dead), or cancelled and closed before it began (then whoever
    did that still holds it, and meant it).
    """

    __slots__ = ("_departures", "_execution", "_method", "_step_id", "begun", "coroutine")

    def __init__(self, execution: Execution, method: str, step_id: object = None) -> None:
        self._execution = execution
        self._departures = execution.departures
        self._method = method
        self._step_id = step_id
        self.coroutine: ref[Coroutine[Any, Any, Any]] | None = None
        """The coroutine that is expected to begin."""
        self.begun = False
        """Whether it is awaited."""

    def __del__(self) -> None:
        if not self.begun and self.coroutine is not None and self.coroutine() is None:
            self._execution.not_awaited(self._method, self._step_id, self._departures)
