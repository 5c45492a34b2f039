"""`stepwell list events`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from stepwell.cli.instants import instant
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import json_text, local_time, print_columns, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepwell.cli.api import Api

PAGE = 51  # The most that one page of this list holds.
DATA_CHARS = 60


@click.command("events")
@click.option("--name", metavar="NAME", help="Of this name.")
@click.option("--since", metavar="TIME", callback=instant,
              help="Received at or after it: 2026-08-20T10:00:00Z.")  # fmt: skip
@click.option("--until", metavar="TIME", callback=instant, help="Received before it.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000),
              help="Most events to list.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(
    api: Api, name: str | None, since: str | None, until: str | None, limit: int, as_json: bool
) -> None:
    """List events, newest first, without the server's own.

    \b
    Examples:
      stepwell list events
      stepwell list events --name user.created --since 2026-08-20 --json
    """
    query = [("received_after", since or "0")]  # without it the API lists the last hour
    query += [("received_before", until)] if until else []
    query += [("name", name)] if name else []
    events = list(_pages(api, query, limit))
    if as_json:
        print_json(events)
        return
    print_columns(
        ("EVENT", "NAME", "ID", "RECEIVED", "DATA"),
        [_row(event) for event in events],
        empty="No events.",
    )


def _pages(api: Api, query: list[tuple[str, str]], limit: int) -> Iterator[dict[str, Any]]:
    cursor: list[tuple[str, str]] = []
    while limit > 0:
        asked = min(limit, PAGE)
        events = api.get("/v1/events", [*query, ("limit", str(asked)), *cursor]).get("data", [])
        yield from events[:limit]
        limit -= len(events)
        if len(events) < asked:
            return
        cursor = [("cursor", events[-1]["internal_id"])]


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    own_id = event.get("id")
    data = json_text(event.get("data"))
    return (
        event["internal_id"],
        event.get("name"),
        own_id if own_id != event["internal_id"] else "",
        local_time(event.get("received_at")),
        data if len(data) <= DATA_CHARS else data[:DATA_CHARS] + " ...",
    )
