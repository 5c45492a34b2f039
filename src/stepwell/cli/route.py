"""`stepwell route`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from stepwell.cli.target import talks_to_server
from stepwell.cli.text import local_time, plain, print_columns, print_json

if TYPE_CHECKING:
    from stepwell.cli.api import Api


@click.command("route")
@click.argument("app", metavar="APP")
@click.argument("function", metavar="[FUNCTION]", required=False)
@click.option("--connect", "percent", metavar="PERCENT", type=click.IntRange(0, 100),
              help="How many of a hundred runs go over Connect, the others over HTTP.")  # fmt: skip
@click.option("--reset", is_flag=True,
              help="The default: Connect when a worker is ready, else HTTP.")  # fmt: skip
@click.option("--pin/--no-pin", default=None,
              help="Whether runs stay with the version on which they begin.")  # fmt: skip
@click.option("--forget", "forgotten", metavar="TRANSPORT",
              type=click.Choice(["connect", "http"]),
              help="Forget the app's registration over `connect` or `http`.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(
    api: Api,
    app: str,
    function: str | None,
    percent: int | None,
    reset: bool,
    pin: bool | None,
    forgotten: str | None,
    as_json: bool,
) -> None:
    """Choose how calls reach an app that is served over HTTP and has workers, and show it.

    Without an option nothing is changed. A number for a FUNCTION counts before that of its APP. 0
    and 100 are kept to whatever happens; with any other number a call that cannot go its way goes
    the other one.

    \b
    Examples:
      stepwell route shop
      stepwell route shop --connect 10
      stepwell route shop order-paid --connect 100
      stepwell route shop order-paid --reset
      stepwell route shop --pin
      stepwell route shop --forget http
    """
    if percent is not None and reset:
        raise click.UsageError("--connect and --reset exclude each other")
    if function is not None and (pin is not None or forgotten is not None):
        raise click.UsageError("--pin and --forget are for a whole app; leave FUNCTION out")
    path = f"/v2/apps/{quote(app, safe='')}"
    changes: dict[str, Any] = {}
    if percent is not None or reset:
        changes["connectPercent"] = percent
    if pin is not None:
        changes["pin"] = "version" if pin else None
    if function is not None and changes:
        api.put(f"{path}/functions/{quote(function, safe='')}/route", changes)
    elif changes:
        api.put(f"{path}/routes", changes)
    if forgotten is not None:
        api.delete(f"{path}/transports/{forgotten}")
        if not _is_known(api, app):
            click.echo(f"{plain(app)} is registered no more.")
            return
    routes = api.get(f"{path}/routes")["data"]
    if function is not None:
        routes["functions"] = [each for each in routes["functions"]
                               if function in (each["slug"], f"{app}-{each['slug']}")]  # fmt: skip
    if as_json:
        print_json(routes)
        return
    _print(routes)


def _is_known(api: Api, app: str) -> bool:
    return any(each["id"] == app for each in api.pages("/v2/apps", limit=10_000))


def _print(routes: dict[str, Any]) -> None:
    click.echo(f"{'app':<8}  {plain(routes['app']['id'])}")
    click.echo(f"{'route':<8}  {_route(routes['connectPercent'])}")
    click.echo(f"{'pin':<8}  {plain(routes['pin'] or 'none')}")
    for each in routes["transports"]:
        facts = [each.get("url"), each.get("appVersion"), f"synced {local_time(each['syncedAt'])}"]
        click.echo(f"{each['transport']:<8}  {plain(', '.join(fact for fact in facts if fact))}")
        if each.get("error"):
            click.echo(f"{'':<8}  {click.style(plain(each['error']), fg='red')}")
    print_columns(
        ("FUNCTION", "ROUTE", "CHOSEN FOR", "WORKERS", "HTTP"),
        [
            (
                each["slug"],
                _route(each["connectPercent"]),
                each["chosenFor"] or "",
                str(each["workers"]),
                "yes" if each["takesHttp"] else "resting" if each["url"] else "no",
            )
            for each in routes["functions"]
        ],
        empty="The app has no functions.",
    )


def _route(percent: int | None) -> str:
    match percent:
        case None:
            return "connect, else http"
        case 0:
            return "http alone"
        case 100:
            return "connect alone"
        case _:
            return f"{percent} % connect"
