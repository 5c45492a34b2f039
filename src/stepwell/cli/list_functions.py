"""`stepwell list functions`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from stepwell.cli.event_runs import trigger_text
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import print_columns, print_json

if TYPE_CHECKING:
    from stepwell.cli.api import Api

APPS_MAX = 10_000


@click.command("functions")
@click.option("--app", "apps", multiple=True, metavar="APP", help="Of this app. Repeatable.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000),
              help="Most functions of each app to list.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(api: Api, apps: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List functions, by app and id, with what starts them.

    \b
    Examples:
      stepwell list functions
      stepwell list functions --app my-app --json
    """
    names = apps or [app["id"] for app in api.pages("/v2/apps", limit=APPS_MAX)]
    functions = [
        function
        for name in names
        for function in api.pages(f"/v2/apps/{quote(name, safe='')}/functions", limit=limit)
    ]
    if as_json:
        print_json(functions)
        return
    print_columns(
        ("APP", "FUNCTION", "NAME", "TRIGGERS", "RETRIES"),
        [
            (
                function.get("app", {}).get("id"),
                function.get("slug"),
                function.get("name"),
                ", ".join(trigger_text(trigger) for trigger in function.get("triggers", [])),
                function.get("configuration", {}).get("retries", {}).get("value"),
            )
            for function in functions
        ],
        empty="No functions. Start a worker; it registers its functions by itself.",
    )
