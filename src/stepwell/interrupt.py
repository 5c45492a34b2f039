"""How user code is left when a call has learnt what it can."""

from __future__ import annotations


class Interrupt(BaseException):
    """Leaves user code: this call has learnt what it can. Never catch it."""


def is_interrupt(error: BaseException) -> bool:
    """Whether user code was left so, perhaps through a task group of its own."""
    return isinstance(error, Interrupt) or (
        isinstance(error, BaseExceptionGroup) and error.subgroup(Interrupt) is not None
    )
