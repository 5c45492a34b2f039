"""What can go wrong with an expression: when it is read, and when it is evaluated.

Reading stops with an `ExpressionError`, which tells the place. Evaluation stops with an
`EvaluationError`; its two subclasses differ in what an operator makes of them.
"""

from __future__ import annotations

from stepwell.errors import StepwellError, WireError
from stepwell.wire.quoting import quoted


class ExpressionError(WireError):
    """A text is no expression of the dialect, or one that is not allowed where it stands.

    Attributes:
        text: The expression.
        line: Where the fault is, from 1.
        column: The character in the line, from 1.
        reason: What was seen there, and what was expected.
    """

    code = "expression_invalid"

    def __init__(self, text: str, at: int, reason: str) -> None:
        before = text[:at]
        self.text = text
        self.line = before.count("\n") + 1
        self.column = at - (before.rfind("\n") + 1) + 1
        self.reason = reason
        super().__init__(
            f"the expression {quoted(text)} is wrong at line {self.line}, "
            f"column {self.column}: {reason}"
        )


class EvaluationError(StepwellError):
    """An expression has no value for these variables.

    `==` takes it for "not equal", `||` and `?:` for false; anything else passes it on.
    """

    code = "expression_failed"
    status = 422


class UnknownValue(EvaluationError):
    """What was asked of does not exist, so neither yes nor no is right; `==` passes it on too."""


class WorkExceeded(EvaluationError):
    """The evaluation would take too long. No operator makes a value of it."""
