"""An expression that was read and checked once, to be evaluated often."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from stepwell.expressions.checking import Policy, check, names_in, uses_now
from stepwell.expressions.compiler import compile_node
from stepwell.expressions.faults import EvaluationError
from stepwell.expressions.interpolation import Known, interpolate
from stepwell.expressions.macros import slots_needed
from stepwell.expressions.matching import Equality, equalities_in, never_true
from stepwell.expressions.parsing import parse
from stepwell.expressions.semantics import WORK_MAX, Frame, Run
from stepwell.expressions.values import key_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepwell.expressions.nodes import Node

_CACHED_MAX: Final = 1_024
_CACHED_CHARS_MAX: Final = 512
"""A longer text is read every time, so that the cache holds some megabytes at most."""


def compile_expression(text: str, *, policy: Policy = Policy.FULL) -> Expression:
    """Read and check an expression; the last ones are remembered.

    Raises:
        ExpressionError: `expression_invalid`, with the line and the column.
    """
    if len(text) <= _CACHED_CHARS_MAX:
        return _remembered(text, policy)
    return _compiled(text, policy)


def _compiled(text: str, policy: Policy) -> Expression:
    root = parse(text)
    check(text, root, policy)
    return Expression(text, root)


_remembered = lru_cache(maxsize=_CACHED_MAX)(_compiled)


class Expression:
    """What `compile_expression` gives. It never changes.

    Attributes:
        text: It, as it was written or as interpolation made it.
        uses_now: Whether its value depends on the time.
    """

    __slots__ = ("_known", "_root", "_run", "_slots", "text", "uses_now")

    def __init__(self, text: str, root: Node) -> None:
        self.text = text
        self.uses_now = uses_now(root)
        self._root = root
        self._slots = slots_needed(root)
        self._run: Run = self._compile_and_run
        self._known = Known()

    def _compile_and_run(self, frame: Frame) -> Any:
        """The first evaluation: many waits end without one."""
        self._run = compile_node(self._root, {})
        return self._run(frame)

    def __repr__(self) -> str:
        return f"<Expression {self.text!r}>"

    def matches(self, variables: Mapping[str, Any], *, now_ms: int) -> bool:
        """Whether the value is `true`; what fails, or is no bool, does not match.

        Args:
            variables: `event`, and where there is one `async`: whole events as decoded JSON.
        """
        try:
            return self._run(Frame(variables, now_ms, self._slots)) is True
        except (EvaluationError, RecursionError):
            return False

    def weigh(self, variables: Mapping[str, Any], *, now_ms: int) -> tuple[bool, int]:
        """Like `matches`, and how much work it was: about 0.1 us a unit."""
        frame = Frame(variables, now_ms, self._slots)
        try:
            holds = self._run(frame) is True
        except (EvaluationError, RecursionError):
            holds = False
        return holds, WORK_MAX - frame.work + self._root.size

    def evaluate(self, variables: Mapping[str, Any], *, now_ms: int) -> Any:
        """The value: see `values`; `MISSING` for a reference to what is not there.

        JSON numbers are doubles: `event.data.n` gives `6.0` for 6, `int(event.data.n)` gives 6.

        Raises:
            EvaluationError: `expression_failed`.
        """
        try:
            return self._run(Frame(variables, now_ms, self._slots))
        except RecursionError as error:
            raise EvaluationError("the values are nested too deep") from error

    def key(self, variables: Mapping[str, Any], *, now_ms: int) -> str | None:
        """The value as the key of a flow control.

        Returns:
            Its text; None if the field is not there, which makes the `null` key: a control applies
            to all such events together. The value `false` gives `false`, as the text "false" does;
            who must tell them apart calls `evaluate`, then `key_text`.

        Raises:
            EvaluationError: `expression_failed`: there is no key.
        """
        value = self.evaluate(variables, now_ms=now_ms)
        try:
            return key_text(value)
        except RecursionError as error:
            raise EvaluationError("the value is nested too deep for a key") from error

    def interpolate(self, event: Mapping[str, Any]) -> Expression:
        """The expression for one triggering event: every `event.…` in it is the event's value.

        The result needs no `event` any more, and its text reads back as the same expression. A
        field that the event does not have stays missing, so it equals nothing that arrives; only
        the word `null` in the text asks whether a field is missing.

        Raises:
            ExpressionError: The event's values make it too large, or take too long to evaluate.
        """
        text, root = interpolate(self.text, self._root, event, self._known)
        return Expression(text, root)

    def names(self) -> frozenset[str]:
        """The variables that the value depends on, and `now` if it depends on the time."""
        return names_in(self._root, {})

    def is_false(self) -> bool:
        """Whether it is known not to match, whatever arrives: it is `false`, or needs to be."""
        return never_true(self._root)

    def equalities(self) -> tuple[Equality, ...]:
        """What of the arriving event must equal a constant for the expression to match."""
        return tuple(equalities_in(self._root))
