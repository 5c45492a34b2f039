"""`stepwell list apps`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stepwell.cli.target import talks_to_server
from stepwell.cli.text import local_time, print_columns, print_json

if TYPE_CHECKING:
    from stepwell.cli.api import Api


@click.command("apps")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000),
              help="Most apps to list.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(api: Api, limit: int, as_json: bool) -> None:
    """List the apps that have registered, by name, and those that were named by URL only.

    An app with an error cannot be synced or called just now; `stepwell show app` says why.

    \b
    Examples:
      stepwell list apps
      stepwell list apps --json
    """
    apps = list(api.pages("/v2/apps", limit=limit))
    if as_json:
        print_json(apps)
        return
    print_columns(
        ("APP", "METHOD", "VERSION", "FUNCTIONS", "SDK", "SYNCED", "ERROR"),
        [
            (
                app["id"],
                app.get("method", "").lower(),
                app.get("appVersion"),
                app.get("functionCount", 0),
                app.get("latestSync", {}).get("sdkLanguage"),
                local_time(app.get("latestSync", {}).get("syncedAt")),
                app.get("error", {}).get("code"),
            )
            for app in apps
        ],
        empty="No apps. Start a worker, which registers by itself, or sync one that is served.",
    )
