"""Expressions: CEL with rules of its own for what is missing, and for numbers.

`compile_expression` reads and checks a text; the `Expression` is evaluated over whole events, as
decoded JSON. Nothing here does I/O or looks at a clock. The parser is imported when the first
expression is read.

Source: docs/reference/expressions.md.
"""

from __future__ import annotations

from stepwell.expressions.checking import Policy
from stepwell.expressions.expression import Expression, compile_expression
from stepwell.expressions.faults import EvaluationError, ExpressionError
from stepwell.expressions.matching import Equality, index_value, value_at
from stepwell.expressions.values import MISSING, key_text

__all__ = [
    "MISSING",
    "Equality",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Policy",
    "compile_expression",
    "index_value",
    "key_text",
    "value_at",
]
