"""`stepwell show app`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from stepwell.cli.api import NotFound
from stepwell.cli.event_runs import trigger_text
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import local_time, plain, print_json

if TYPE_CHECKING:
    from stepwell.cli.api import Api


APPS_MAX = 10_000
FUNCTIONS_MAX = 10_000


@click.command("app")
@click.argument("app_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(api: Api, app_id: str, as_json: bool) -> None:
    """Show an app: where it is, its functions, and what is wrong with it.

    ID is its name. A served app that has never synced is named by its URL.

    \b
    Examples:
      stepwell show app shop
      stepwell show app http://localhost:3000/api/inngest
    """
    app, functions = _at_url(api, app_id) if "/" in app_id else _named(api, app_id)
    if as_json:
        print_json({"app": app, "functions": functions})
        return
    sync = app.get("latestSync", {})
    facts = {
        "app": app["name"],
        "method": app.get("method", "").lower(),
        "url": sync.get("url"),
        "version": app.get("appVersion"),
        "sdk": sync.get("sdkLanguage"),
        "framework": sync.get("framework"),
        "synced": local_time(sync.get("syncedAt")),
    }
    for name, value in facts.items():
        if value:
            click.echo(f"{name:<9}  {plain(value)}")
    if (error := app.get("error")) is not None:
        click.echo(f"{'error':<9}  {click.style(plain(error['code']), fg='red')}: "
                   f"{plain(error['text'])} (since {local_time(error['since'])})")  # fmt: skip
    for function in functions:
        triggers = ", ".join(trigger_text(each) for each in function.get("triggers", []))
        click.echo(f"{'function':<9}  {plain(function['slug'])}  {plain(triggers)}".rstrip())


def _named(api: Api, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    path = f"/v2/apps/{quote(name, safe='')}"
    return api.get(path)["data"], list(api.pages(f"{path}/functions", limit=FUNCTIONS_MAX))


def _at_url(api: Api, url: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is said of this URL: by the app that has synced there, else by the server alone."""
    for app in api.pages("/v2/apps", limit=APPS_MAX):
        if app["id"] == url:
            return app, []
        if app.get("latestSync", {}).get("url") == url:
            return _named(api, app["id"])
    raise NotFound(f"no app is at {url}; `stepwell list apps` lists them")
