"""`stepwell list workers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from stepwell.cli.target import talks_to_server
from stepwell.cli.text import local_time, print_columns, print_json

if TYPE_CHECKING:
    from stepwell.cli.api import Api

LIMIT_MAX = 1_000


@click.command("workers")
@click.option("--app", metavar="APP", help="That serve this app.")
@click.option("--all", "everyone", is_flag=True, help="Those that left, too, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(api: Api, app: str | None, everyone: bool, as_json: bool) -> None:
    """List the workers that are connected, oldest first.

    \b
    Examples:
      stepwell list workers
      stepwell list workers --app my-app --all
    """
    query = [("limit", str(LIMIT_MAX)), *([("all", "true")] if everyone else [])]
    workers = api.get("/v2/workers", query).get("data", [])
    if app is not None:
        workers = [worker for worker in workers if app in _app_names(worker)]
    if as_json:
        print_json(workers)
        return
    print_columns(
        ("WORKER", "APPS", "STATUS", "SDK", "LIMIT", "CONNECTED", "CONNECTION", "LEFT"),
        [
            (
                worker.get("instanceId"),
                ", ".join(_app_names(worker)),
                worker.get("status"),
                f"{worker.get('sdkLanguage', '')} {worker.get('sdkVersion', '')}".strip(),
                worker.get("maxWorkerConcurrency", "none"),
                local_time(worker.get("connectedAt")),
                worker.get("id"),
                worker.get("disconnectReason"),
            )
            for worker in workers
        ],
        empty="No workers are connected.",
    )


def _app_names(worker: dict[str, Any]) -> list[str]:
    return [app["id"] for app in worker.get("apps", [])]
