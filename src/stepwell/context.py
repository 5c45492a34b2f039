"""What a function is called with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

import msgspec

from stepwell.event import Event
from stepwell.group import Group, GroupSync
from stepwell.step import Step
from stepwell.step_sync import StepSync

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    D = TypeVar("D", default=dict[str, Any])
else:
    from typing import TypeVar

    D = TypeVar("D")

Logger: TypeAlias = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Context(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """The argument of an async function. `Context[Order]` has events whose data is an `Order`.

    Attributes:
        event: What started the run; the first of `events`.
        events: All that started it.
        run_id: Names the run, in every call of it.
        attempt: 0 for the first attempt of this call; each step has attempts of its own.
        logger: The client's logger.
        step: Operations whose results are remembered.
        group: Steps that run at the same time.
    """

    event: Event[D]
    events: list[Event[D]]
    run_id: str
    attempt: int
    logger: Logger
    step: Step
    group: Group


class ContextSync(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """The argument of a sync function. The attributes are those of `Context`."""

    event: Event[D]
    events: list[Event[D]]
    run_id: str
    attempt: int
    logger: Logger
    step: StepSync
    group: GroupSync
