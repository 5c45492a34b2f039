"""Durable functions made of steps.

The names below are imported when they are first used, so that the server, which is in the same
distribution, does not carry the SDK in memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepwell.version import __version__

if TYPE_CHECKING:
    from stepwell.client import Client
    from stepwell.client import Client as Inngest
    from stepwell.context import Context, ContextSync
    from stepwell.errors import (
        NonRetriableError,
        RetryAfterError,
        SendEventsError,
        StepError,
        StepwellError,
    )
    from stepwell.event import Event
    from stepwell.function import Function, TriggerEvent
    from stepwell.step import Group, GroupSync, Step, StepSync

__all__ = [
    "Client",
    "Context",
    "ContextSync",
    "Event",
    "Function",
    "Group",
    "GroupSync",
    "Inngest",
    "NonRetriableError",
    "RetryAfterError",
    "SendEventsError",
    "Step",
    "StepError",
    "StepSync",
    "StepwellError",
    "TriggerEvent",
    "__version__",
]

_HOMES = {
    "Client": "client",
    "Context": "context",
    "ContextSync": "context",
    "Event": "event",
    "Function": "function",
    "Group": "step",
    "GroupSync": "step",
    "NonRetriableError": "errors",
    "RetryAfterError": "errors",
    "SendEventsError": "errors",
    "Step": "step",
    "StepError": "errors",
    "StepSync": "step",
    "StepwellError": "errors",
    "TriggerEvent": "function",
}


# Names of the official SDK that a program may look for; see `function_unsupported`.
_NOT_BUILT = frozenset(
    {
        "Batch",
        "Cancel",
        "Concurrency",
        "Debounce",
        "Middleware",
        "Priority",
        "RateLimit",
        "Singleton",
        "Throttle",
        "Timeouts",
        "TriggerCron",
    }
)


def __getattr__(name: str) -> Any:
    if name == "Inngest":
        return __getattr__("Client")
    home = _HOMES.get(name)
    if name in _NOT_BUILT:
        from stepwell.errors import ConfigError

        raise ConfigError(f"{name} is not built yet", code="function_unsupported")
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
