"""Durable functions made of steps.

The names below are imported when they are first used, so that the server, which is in the same
distribution, does not carry the SDK in memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepwell.version import __version__

if TYPE_CHECKING:
    from stepwell.checkpointing import Checkpointing
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
    from stepwell.event import Event, EventType
    from stepwell.function import Function
    from stepwell.group import Group, GroupSync
    from stepwell.step import Step
    from stepwell.step_options import FetchResponse, Signal
    from stepwell.step_sync import StepSync
    from stepwell.triggers import Cancel, Timeouts, TriggerCron, TriggerDeferred, TriggerEvent

__all__ = [
    "Cancel",
    "Checkpointing",
    "Client",
    "Context",
    "ContextSync",
    "Event",
    "EventType",
    "FetchResponse",
    "Function",
    "Group",
    "GroupSync",
    "Inngest",
    "NonRetriableError",
    "RetryAfterError",
    "SendEventsError",
    "Signal",
    "Step",
    "StepError",
    "StepSync",
    "StepwellError",
    "Timeouts",
    "TriggerCron",
    "TriggerDeferred",
    "TriggerEvent",
    "__version__",
]

_HOMES = {
    "Cancel": "triggers",
    "Checkpointing": "checkpointing",
    "Client": "client",
    "Context": "context",
    "ContextSync": "context",
    "Event": "event",
    "EventType": "event",
    "FetchResponse": "step_options",
    "Function": "function",
    "Group": "group",
    "GroupSync": "group",
    "NonRetriableError": "errors",
    "RetryAfterError": "errors",
    "SendEventsError": "errors",
    "Signal": "step_options",
    "Step": "step",
    "StepError": "errors",
    "StepSync": "step_sync",
    "StepwellError": "errors",
    "Timeouts": "triggers",
    "TriggerCron": "triggers",
    "TriggerDeferred": "triggers",
    "TriggerEvent": "triggers",
}


# Names of the official SDK that a program may look for; see `function_unsupported`.
_NOT_BUILT = frozenset(
    {
        "Batch",
        "Concurrency",
        "Debounce",
        "Middleware",
        "Priority",
        "RateLimit",
        "Singleton",
        "Throttle",
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
