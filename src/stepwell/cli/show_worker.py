"""`stepwell show worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from stepwell.cli.api import NotFound
from stepwell.cli.list_workers import load_text
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import COLORS, local_time, plain, print_json

if TYPE_CHECKING:
    from stepwell.cli.api import Api


@click.command("worker")
@click.argument("worker_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(api: Api, worker_id: str, as_json: bool) -> None:
    """Show a worker's connection: its apps, its load, where it runs, why it left.

    ID is the connection's, or the instance's: then it is its newest connection.

    \b
    Examples:
      stepwell show worker 01K6ZB1YV2M3N4P5Q6R7S8T9V0
      stepwell show worker my-host
    """
    worker = _read(api, worker_id)
    if as_json:
        print_json(worker)
        return
    status = worker["status"]
    facts = {
        "worker": worker["instanceId"],
        "connection": worker["id"],
        "status": click.style(status, fg=COLORS.get(status)),
        "left": local_time(worker.get("disconnectedAt")),
        "because": worker.get("disconnectReason"),
        "load": load_text(worker),
        "calls done": str(worker.get("callsDone", 0)),
        "connected": local_time(worker.get("connectedAt")),
        "heard": local_time(worker.get("lastHeartbeatAt")),
        "limit": str(worker.get("maxWorkerConcurrency", "none")),
        "sdk": f"{worker.get('sdkLanguage', '')} {worker.get('sdkVersion', '')}".strip(),
        "address": worker.get("ip"),
        "machine": _machine(worker),
    }
    for name, value in facts.items():
        if value:
            shown = value if name == "status" else plain(value)
            click.echo(f"{name:<10}  {shown}")
    for app in worker.get("apps", []):
        count = app.get("functionCount", 0)
        version = f"  version {plain(app['version'])}" if app.get("version") else ""
        functions = "1 function" if count == 1 else f"{count} functions"
        click.echo(f"{'app':<10}  {plain(app['id'])}{version}  {functions}")


def _read(api: Api, worker_id: str) -> dict[str, Any]:
    try:
        worker: dict[str, Any] = api.get(f"/v2/workers/{quote(worker_id, safe='')}")["data"]
    except NotFound:
        of_instance = [("instanceId", worker_id), ("all", "true")]
        found = list(api.pages("/v2/workers", of_instance, limit=1))
        if not found:
            raise NotFound(
                f"no connection and no instance is called {worker_id}; `stepwell list workers "
                "--all` lists them"
            ) from None
        return found[0]
    return worker


def _machine(worker: dict[str, Any]) -> str:
    parts = [worker.get("os", ""), worker.get("platform", "")]
    if worker.get("cpuCores"):
        parts.append(f"{worker['cpuCores']} cores")
    if worker.get("memBytes"):
        parts.append(f"{int(worker['memBytes']) / 2**30:.1f} GiB")
    return ", ".join(filter(None, parts))
