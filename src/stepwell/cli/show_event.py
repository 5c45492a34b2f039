"""`stepwell show event`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stepwell.cli.event_runs import (
    full_name,
    read_event,
    read_runs,
    started_nothing,
    told_runs,
)
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import COLORS, json_text, local_time, plain, print_json, shortened

if TYPE_CHECKING:
    from stepwell.cli.api import Api


@click.command("event")
@click.argument("event_id", metavar="ID")
@click.option("--full", is_flag=True, help="Show the data whole, however long.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(api: Api, event_id: str, full: bool, as_json: bool) -> None:
    """Show an event: its name, its data, the runs that it started.

    Of the last events the server also knows the runs that went on with them, or were cancelled.

    ID is the one that the server gave it.

    \b
    Examples:
      stepwell show event 01K6ZB1YV2M3N4P5Q6R7S8T9V0
      stepwell show event 01K6ZB1YV2M3N4P5Q6R7S8T9V0 --json
    """
    event = read_event(api, event_id)
    runs = read_runs(api, event_id)
    if as_json:
        print_json({"event": event, "runs": runs})
        return
    own_id = event["id"] if event.get("id") != event["internal_id"] else None
    click.echo(f"event     {event['internal_id']}")
    click.echo(f"name      {plain(event.get('name'))}")
    if own_id is not None:
        click.echo(f"id        {plain(own_id)}")
    click.echo(f"received  {local_time(event.get('received_at'))}")
    click.echo(f"data      {shortened(json_text(event.get('data')), full=full)}")
    for run in runs:
        status = run.get("status", "")
        shown = click.style(status.lower(), fg=COLORS.get(status))
        click.echo(f"run       {run['id']}  {full_name(run)}  {shown}")
    told = told_runs(event)
    for word, run_id in told:
        click.echo(f"{word} {run_id}")
    if not runs and not told:
        click.echo(started_nothing(plain(event.get("name")), plain(own_id) if own_id else None))
