"""`GET /v0/connect/envs/{env}/...`: connections as suites and tools of the protocol read them.

Source: docs/reference/wire/connect.md, "observability".
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from stepwell.errors import WireError
from stepwell.server.api.responses import json_response
from stepwell.server.workers import WorkerStatus
from stepwell.wire.ids import ACCOUNT_ID, ENVIRONMENT_ID

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context
    from stepwell.server.workers import WorkerInfo

GATEWAY_ID: Final = "gw-dev"
"""The one gateway of a server, by the name of its group."""

_NUMBERS: Final = {status: number for number, status in enumerate(WorkerStatus)}


class ConnectState:
    """Live connections and the groups that they form. There is one environment: any name is it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route("/v0/connect/envs/{env}/conns", self.connections),
            Route("/v0/connect/envs/{env}/groups/{group_hash}", self.group),
        ]

    async def connections(self, request: Request) -> Response:
        """Live connections, oldest first; of one app, if `app_id` names one."""
        app_id = request.query_params.get("app_id")
        if app_id:
            try:
                app_id = str(uuid.UUID(app_id))
            except ValueError as error:
                raise WireError(f"app_id {app_id!r} is no UUID") from error
        infos = [
            info
            for info in self._live()
            if not app_id or any(app.app_id == app_id for app in info.apps)
        ]
        return json_response({"data": [_connection(info) for info in infos]})

    async def group(self, request: Request) -> Response:
        """The connections that have one configuration of an app, by its hash."""
        group_hash = request.path_params["group_hash"]
        found = [
            (info, app)
            for info in self._live()
            for app in info.apps
            if app.group_hash == group_hash
        ]
        if not found:
            raise WireError("no connection has this group", code="not_found", status=404)
        info, app = found[0]
        shown: dict[str, Any] = {
            "account_id": ACCOUNT_ID,
            "env_id": ENVIRONMENT_ID,
            "app_id": app.app_id,
            "app_name": app.name,
            "app_version": app.version,
            "sync_id": app.sync_id,
            "sdk_language": info.sdk_language,
            "sdk_version": info.sdk_version,
            "platform": info.platform,
            "function_count": app.function_count,
            "hash": group_hash,
            "synced": app.sync_id is not None,
            "conns": [other.connection_id for other, _app in found],
        }
        return json_response({"data": shown})

    def _live(self) -> list[WorkerInfo]:
        return [info for info in self._context.book.list() if info.is_live]


def _connection(info: WorkerInfo) -> dict[str, Any]:
    """One connection in the names of the protocol's message; zeros are left out, as there."""
    shown: dict[str, Any] = {
        "id": info.connection_id,
        "gateway_id": GATEWAY_ID,
        "instance_id": info.instance_id,
        "all_worker_groups": {app.name: app.group_hash or "" for app in info.apps},
        "synced_worker_groups": {
            app.app_id: app.group_hash for app in info.apps if app.app_id is not None
        },
        "status": _NUMBERS[info.status],
        "last_heartbeat_at": _timestamp(info.last_heartbeat_ms),
        "sdk_language": info.sdk_language,
        "sdk_version": info.sdk_version,
        "attributes": {
            "cpu_cores": info.cpu_cores,
            "mem_bytes": info.mem_bytes,
            "os": info.os,
        },
    }
    if not shown["status"]:
        del shown["status"]
    return shown


def _timestamp(ms: int) -> dict[str, int]:
    return {"seconds": ms // 1000, "nanos": ms % 1000 * 1_000_000}
