"""What starts a function and what ends it early: as programs declare it.

Source: docs/reference/wire/registration.md, "functions".
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from stepwell.errors import ConfigError, WireError
from stepwell.event import EventType, event_name
from stepwell.wire.durations import format_duration, parse_duration_ms
from stepwell.wire.function_config import (
    CANCELS_MAX,
    CRON_CHARS_MAX,
    EVENT_NAME_CHARS_MAX,
    JITTER_MS_MAX,
)
from stepwell.wire.lifecycle import DEFERRED_EVENT

if TYPE_CHECKING:
    from collections.abc import Sequence


class TriggerEvent(msgspec.Struct, frozen=True):
    """Starts a run for each event of a name.

    Attributes:
        event: The name, or an `EventType`. A name may end in `/*` or `.*`, which stands for
            everything that follows.
        expression: A condition over `event`, such as `event.data.kind == 'a'`.
    """

    event: str | EventType[Any]
    expression: str | None = None


class TriggerCron(msgspec.Struct, frozen=True):
    """Starts a run at the times of a schedule.

    Attributes:
        cron: Five fields, as in a crontab; `TZ=Europe/Paris 0 9 * * 1-5` for a time zone.
        jitter: Spreads the start over so much time: a `timedelta`, or a text such as `30s`, from
            1 second to 5 minutes.
    """

    cron: str
    jitter: timedelta | str | None = None


class TriggerDeferred(msgspec.Struct, frozen=True):
    """Starts a run for each run that deferred this function (`ctx.step.defer`), once it is over."""


class Cancel(msgspec.Struct, frozen=True):
    """An event that cancels runs of the function.

    Attributes:
        event: Its name, or its type.
        if_exp: Which runs: a condition over `event`, which started the run, and `async`, which
            cancels it, such as `event.data.order_id == async.data.order_id`. None: all runs.
        timeout: How long after the run's start such an event counts: milliseconds or a
            `timedelta`. None: as long as the run lasts.
    """

    event: str | EventType[Any]
    if_exp: str | None = None
    timeout: int | timedelta | None = None


class Timeouts(msgspec.Struct, frozen=True):
    """When a run is cancelled for being late: milliseconds or a `timedelta`.

    Attributes:
        start: How long it may wait for its first call.
        finish: How long it may take from then on.
    """

    start: int | timedelta | None = None
    finish: int | timedelta | None = None


Trigger: TypeAlias = TriggerEvent | TriggerCron | TriggerDeferred


def trigger_fields(fn_id: str, slug: str, trigger: Trigger) -> dict[str, str]:
    """A trigger as the server registers it.

    Args:
        slug: The function's name on the server.
    Raises:
        ConfigError: It cannot be one.
    """
    if isinstance(trigger, TriggerCron):
        return _cron_fields(fn_id, trigger)
    if isinstance(trigger, TriggerDeferred):
        if "'" in slug or "\\" in slug:
            raise ConfigError(
                f"function {fn_id!r} is deferred, so its id cannot hold a quote or a backslash"
            )
        condition = f"event.data._inngest.fn_slug == '{slug}'"
        return {"event": DEFERRED_EVENT, "expression": condition}
    fields = {"event": _event_name(fn_id, "trigger", trigger.event)}
    if trigger.expression is not None:
        fields["expression"] = _condition(fn_id, "expression", trigger.expression)
    return fields


def cancel_fields(fn_id: str, cancels: Sequence[Cancel]) -> list[dict[str, str]]:
    """Cancels as the server registers them. Raises like `trigger_fields`."""
    if not isinstance(cancels, list | tuple) or not all(
        isinstance(cancel, Cancel) for cancel in cancels
    ):
        raise ConfigError(
            f"function {fn_id!r} has cancel={cancels!r}; it must be a list of "
            'Cancel(event="order/cancelled", ...)'
        )
    if len(cancels) > CANCELS_MAX:
        raise ConfigError(f"function {fn_id!r} has {len(cancels)} cancels; at most {CANCELS_MAX}")
    written: list[dict[str, str]] = []
    for cancel in cancels:
        fields = {"event": _event_name(fn_id, "cancel", cancel.event)}
        if cancel.if_exp is not None:
            fields["if"] = _condition(fn_id, "if_exp", cancel.if_exp)
        if cancel.timeout is not None:
            fields["timeout"] = _duration(fn_id, "the timeout of a cancel", cancel.timeout)
        written.append(fields)
    return written


def timeout_fields(fn_id: str, timeouts: Timeouts) -> dict[str, str]:
    """Timeouts as the server registers them. Raises like `trigger_fields`."""
    if not isinstance(timeouts, Timeouts):
        raise ConfigError(
            f"function {fn_id!r} has timeouts={timeouts!r}; it must be a Timeouts(start=, finish=)"
        )
    return {
        name: _duration(fn_id, f"the {name} timeout", value)
        for name, value in (("start", timeouts.start), ("finish", timeouts.finish))
        if value is not None
    }


def _cron_fields(fn_id: str, trigger: TriggerCron) -> dict[str, str]:
    if not isinstance(trigger.cron, str) or not 1 <= len(trigger.cron) <= CRON_CHARS_MAX:
        raise ConfigError(
            f"function {fn_id!r} has a schedule that is no text of 1 to {CRON_CHARS_MAX} characters"
        )
    fields = {"cron": trigger.cron}
    jitter = trigger.jitter
    if jitter is not None:
        ms = _jitter_ms(jitter)
        if ms is None or not 1_000 <= ms <= JITTER_MS_MAX:
            raise ConfigError(
                f"function {fn_id!r} has a schedule with jitter={jitter!r}; it must be from 1 "
                "second to 5 minutes"
            )
        fields["jitter"] = jitter if isinstance(jitter, str) else format_duration(ms)
    return fields


def _jitter_ms(jitter: object) -> int | None:
    if isinstance(jitter, timedelta):
        return _ms(jitter)
    try:
        return parse_duration_ms(jitter) if isinstance(jitter, str) else None
    except WireError:
        return None


def _event_name(fn_id: str, where: str, event: str | EventType[Any]) -> str:
    name = event_name(event)
    if not isinstance(name, str):
        raise ConfigError(
            f"function {fn_id!r} has a {where} whose event is {event!r}; it must be the name of "
            "an event, or an EventType"
        )
    if not 1 <= len(name) <= EVENT_NAME_CHARS_MAX:
        raise ConfigError(
            f"function {fn_id!r} has a {where} whose event name has {len(name)} characters; it "
            f"needs 1 to {EVENT_NAME_CHARS_MAX}"
        )
    return name


def _condition(fn_id: str, option: str, given: str) -> str:
    if not isinstance(given, str):
        raise ConfigError(f"function {fn_id!r} has {option}={given!r}; it must be a text")
    return given


def _duration(fn_id: str, what: str, given: int | timedelta) -> str:
    if isinstance(given, bool) or not isinstance(given, int | timedelta):
        raise ConfigError(
            f"function {fn_id!r}: {what} is {given!r}; it must be milliseconds or a timedelta"
        )
    ms = _ms(given)
    if ms < 0:
        raise ConfigError(f"function {fn_id!r}: {what} is {given!r}; it must be 0 or more")
    return format_duration(ms)


def _ms(given: int | timedelta) -> int:
    return given if isinstance(given, int) else -(-given // timedelta(milliseconds=1))
