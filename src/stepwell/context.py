"""What a function is called with."""

from __future__ import annotations

import logging
from typing import TypeAlias

import msgspec

from stepwell.event import Event
from stepwell.step import Group, GroupSync, Step, StepSync

Logger: TypeAlias = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The argument of an async function.

    Attributes:
        event: What started the run; the first of `events`.
        events: All that started it.
        run_id: Names the run, in every call of it.
        attempt: 0 for the first attempt of this call; each step has attempts of its own.
        logger: The client's logger.
        step: Operations whose results are remembered.
        group: Steps that run at the same time.
    """

    event: Event
    events: list[Event]
    run_id: str
    attempt: int
    logger: Logger
    step: Step
    group: Group


class ContextSync(msgspec.Struct, frozen=True, kw_only=True):
    """The argument of a sync function. The attributes are those of `Context`."""

    event: Event
    events: list[Event]
    run_id: str
    attempt: int
    logger: Logger
    step: StepSync
    group: GroupSync
