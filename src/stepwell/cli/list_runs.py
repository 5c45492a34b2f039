"""`stepwell list runs`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from stepwell.cli.event_runs import function_name
from stepwell.cli.instants import instant
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import duration, local_time, print_columns, print_json, waiting_text

if TYPE_CHECKING:
    from stepwell.cli.api import Api

STATUSES = ("queued", "running", "completed", "failed", "cancelled", "skipped")


@click.command("runs")
@click.option("--app", "apps", multiple=True, metavar="APP", help="Of this app. Repeatable.")
@click.option("--function", "functions", multiple=True, metavar="ID",
              help="Of this function. Repeatable.")  # fmt: skip
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES),
              help="In this status. Repeatable.")  # fmt: skip
@click.option("--event", "event_id", metavar="EVENT_ID", help="Started by this event.")
@click.option("--since", metavar="TIME", callback=instant,
              help="Queued at or after it: 2026-08-20T10:00:00Z.")  # fmt: skip
@click.option("--until", metavar="TIME", callback=instant, help="Queued before it.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000),
              help="Most runs to list.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(
    api: Api,
    apps: tuple[str, ...],
    functions: tuple[str, ...],
    statuses: tuple[str, ...],
    event_id: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first, and what those that are not over wait for.

    A function that no worker registers any more is marked as archived.

    \b
    Examples:
      stepwell list runs
      stepwell list runs --app my-app --status failed
      stepwell list runs --event 01K6ZB1YV2M3N4P5Q6R7S8T9V0 --json
    """
    filters = (apps, functions, statuses, since, until)
    if event_id and any(filters):
        raise click.UsageError("--event lists all runs of an event; leave out the other filters")
    if event_id:
        runs = list(api.pages(f"/v2/events/{quote(event_id, safe='')}/runs", limit=limit))
    else:
        if functions and not apps:  # the API knows a function by its app
            apps = tuple(app["id"] for app in api.pages("/v2/apps", limit=10_000))
        query = [("appId", app) for app in apps]
        query += [("functionId", function) for function in functions if apps]
        query += [("status", status.upper()) for status in statuses]
        query += [("from", since)] if since else []
        query += [("until", until)] if until else []
        runs = [] if functions and not apps else list(api.pages("/v2/runs", query, limit=limit))
    if as_json:
        print_json(runs)
        return
    print_columns(
        ("RUN", "APP", "FUNCTION", "STATUS", "QUEUED", "TOOK", "WAITS"),
        [_row(run) for run in runs],
        empty="No runs.",
    )


def _row(run: dict[str, Any]) -> tuple[object, ...]:
    waiting = run.get("waiting")
    return (
        run["id"],
        run.get("app", {}).get("id"),
        function_name(run),
        run.get("status"),
        local_time(run.get("queuedAt")),
        _took(run),
        waiting_text(waiting, round(time.time() * 1000)) if waiting else "",
    )


def _took(run: dict[str, Any]) -> str:
    """Empty while it goes on; the API leaves out a duration of 0."""
    return duration(run.get("durationMs", 0)) if run.get("endedAt") else ""
