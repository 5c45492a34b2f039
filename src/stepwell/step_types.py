"""What both kinds of `ctx.step` share: how their steps are called on the wire, and their doors."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Protocol

from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.event import Event

STEP_RUN: Final = "step.run"
SEND_EVENT: Final = "step.sendEvent"
SEND_SIGNAL: Final = "step.sendSignal"
AI_WRAP: Final = "step.ai.wrap"


class Doors(Protocol):
    """What steps do outside their process: the client."""

    async def send(self, events: Event[Any] | Sequence[Event[Any]], /) -> list[str]: ...
    def send_sync(self, events: Event[Any] | Sequence[Event[Any]], /) -> list[str]: ...
    async def signal(self, signal: str, data: object, /) -> bool: ...
    def signal_sync(self, signal: str, data: object, /) -> bool: ...


def no_function(step_id: str, given: object) -> ConfigError:
    """What a step says that was given something else than a function."""
    if inspect.iscoroutine(given):
        given.close()
    return ConfigError(
        f"step {step_id!r} needs a function and was given a {type(given).__name__}; pass the "
        f"function and its arguments, as in run({step_id!r}, charge, order)"
    )
