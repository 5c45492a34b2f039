"""What an event started, for `send` and `show event`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from stepwell.cli.api import Api

RUNS_MAX = 1_000
POLL_S = 0.02
LOOKED_AT_S = 2.0  # How long the server may look at runs that an event may concern.


def read_runs(api: Api, event_id: str) -> list[dict[str, Any]]:
    """The runs that an event started. All of them are there once the event is stored."""
    return list(api.pages(f"/v2/events/{quote(event_id, safe='')}/runs", limit=RUNS_MAX))


def read_event(api: Api, event_id: str) -> dict[str, Any]:
    """An event, once the runs that may wait for it have been looked at, which takes a moment."""
    until_s = time.monotonic() + LOOKED_AT_S
    while True:
        event: dict[str, Any] = api.get(f"/v1/events/{quote(event_id, safe='')}")["data"]
        if not event.get("told", {}).get("pending") or time.monotonic() > until_s:
            return event
        time.sleep(POLL_S)


def told_runs(event: dict[str, Any]) -> list[tuple[str, str]]:
    """Runs that an event did not start, each behind what it did to them."""
    told = event.get("told", {})
    return [(word, run) for word in ("continued", "cancelled") for run in told.get(word, [])]


def full_name(run: dict[str, Any]) -> str:
    """The run's function with its app in front, marked if no worker registers it any more."""
    return f"{run.get('app', {}).get('id', '?')}/{function_name(run)}"


def function_name(run: dict[str, Any]) -> str:
    """The run's function alone, with the same mark."""
    function = run.get("function", {})
    name = function.get("slug") or function.get("name") or "?"
    return f"{name} (archived)" if function.get("isArchived") else str(name)


def trigger_text(trigger: dict[str, Any]) -> str:
    """What starts a function: an event, perhaps under a condition, or a schedule."""
    value, condition = trigger.get("value"), trigger.get("if")
    if trigger.get("type") == "CRON":
        return f"cron {value}"
    return f"{value} if {condition}" if condition else str(value)


def started_nothing(name: str, own_id: str | None) -> str:
    """Why an event may have started no function, in one sentence.

    Args:
        own_id: The producer's key for the event, if it has one.
    """
    none = f"no registered function has a trigger that fits {name} (see `stepwell list functions`)"
    if own_id is None:
        return f"started no function: {none}"
    return (
        f"started no function: either an event with the id {own_id} started them within the last "
        f"24 hours, or {none}"
    )
