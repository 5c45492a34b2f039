"""`stepwell list workers`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from stepwell.cli.api import Unreachable
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import local_time, print_columns, print_json, print_json_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.cli.api import Api

LIVE_MAX = 10_000
POLL_S = 1.0
GONE_S = 60.0  # How long a server may be away (a restart, a deploy) before watching gives up.

# Those that take calls first, those that come or go, then those that left.
_ORDER = ("READY", "CONNECTED", "DRAINING", "DISCONNECTING", "DISCONNECTED")


@click.command("workers")
@click.option("--app", "apps", multiple=True, metavar="APP", help="That serve it. Repeatable.")
@click.option("--instance", metavar="ID", help="Of this instance.")
@click.option("--all", "everyone", is_flag=True, help="Those that left, too, and why.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000),
              help="Most of those that left.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Go on and show what changes, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON; with --watch, one list a line.")  # fmt: skip
@talks_to_server
def command(
    api: Api,
    apps: tuple[str, ...],
    instance: str | None,
    everyone: bool,
    limit: int,
    watch: bool,
    as_json: bool,
) -> None:
    """List the workers that are connected: those that take calls first, the newest first.

    LOAD is the calls that the worker has, of those that it takes; DONE those that it answered.

    \b
    Examples:
      stepwell list workers
      stepwell list workers --app my-app --all
      stepwell list workers --watch
    """
    query = [("appId", app) for app in apps]
    query += [("instanceId", instance)] if instance else []

    def read() -> list[dict[str, Any]]:
        workers = list(api.pages("/v2/workers", query, limit=LIVE_MAX))
        if everyone:
            left = [*query, ("status", "DISCONNECTED")]
            workers += api.pages("/v2/workers", left, limit=limit)
        return sorted(workers, key=lambda worker: _ORDER.index(worker["status"]))

    if watch:
        _follow(read, as_json=as_json)
    elif as_json:
        print_json(read())
    else:
        _print(read())


def _follow(read: Callable[[], list[dict[str, Any]]], *, as_json: bool) -> None:
    """Print the list whenever it is another one, through restarts of the server."""
    shown: list[dict[str, Any]] | None = None
    last_seen_s = time.monotonic()
    while True:
        try:
            workers = read()
        except Unreachable:
            if time.monotonic() - last_seen_s > GONE_S:
                raise
            time.sleep(POLL_S)
            continue
        last_seen_s = time.monotonic()
        if workers != shown:
            shown = workers
            if as_json:
                print_json_line(workers)
            else:
                click.clear()  # nothing where the output is no terminal
                _print(workers)
            sys.stdout.flush()
        time.sleep(POLL_S)


def _print(workers: list[dict[str, Any]]) -> None:
    print_columns(
        ("WORKER", "APPS", "STATUS", "LOAD", "DONE", "SDK", "CONNECTED", "HEARD", "CONNECTION",
         "LEFT"),
        [
            (
                worker.get("instanceId"),
                ", ".join(_app_text(app) for app in worker.get("apps", [])),
                worker.get("status"),
                load_text(worker),
                worker.get("callsDone", ""),
                f"{worker.get('sdkLanguage', '')} {worker.get('sdkVersion', '')}".strip(),
                local_time(worker.get("connectedAt")),
                local_time(worker.get("lastHeartbeatAt")),
                worker.get("id"),
                worker.get("disconnectReason"),
            )
            for worker in workers
        ],
        empty="No workers are connected.",
    )  # fmt: skip


def load_text(worker: dict[str, Any]) -> str:
    """The calls that a worker has; empty once it left.

    A limit is of the instance: where that has other connections too, their calls are in brackets.
    """
    load = worker.get("load")
    if load is None:
        return ""
    limit = worker.get("maxWorkerConcurrency", "no limit")
    calls, together = load["calls"], load["instanceCalls"]
    return f"{calls} of {limit}" + (f" ({together} in all)" if together != calls else "")


def _app_text(app: dict[str, Any]) -> str:
    return f"{app['id']} {app['version']}" if app.get("version") else str(app["id"])
