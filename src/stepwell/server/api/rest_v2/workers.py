"""`GET /v2/workers`: the connections of the gateway. An addition of ours to v2.

Source: docs/reference/http-api.md, "Workers".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.responses import iso, v2_data, without_empty
from stepwell.server.api.rest_v2.paths import both

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from stepwell.server.api.context import Context
    from stepwell.server.workers import WorkerInfo

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000


class WorkerReads:
    """Live connections, and with `all=true` the last ones that ended."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            *both("/workers", self.listing),
            *both("/workers/{connection_id}", self.one),
        ]

    async def listing(self, request: Request) -> Response:
        """Live ones first, oldest first; then ended ones, latest end first."""
        query = request.query_params
        everyone = queries.flag(query, "all")
        limit = queries.limit(query, default=LIMIT_DEFAULT, most=LIMIT_MAX)
        infos = [info for info in self._context.book.list() if everyone or info.is_live]
        page: dict[str, Any] = {"limit": limit}
        if len(infos) > limit:
            page["hasMore"] = True
        return v2_data(
            [worker_object(info) for info in infos[:limit]],
            now_ms=self._context.runtime.now_ms(),
            page=page,
        )

    async def one(self, request: Request) -> Response:
        info = self._context.book.get(request.path_params["connection_id"])
        if info is None:
            raise WireError("Worker not found", code="not_found", status=404)
        return v2_data(worker_object(info), now_ms=self._context.runtime.now_ms())


def worker_object(info: WorkerInfo) -> dict[str, Any]:
    """One connection; no `maxWorkerConcurrency` means no limit."""
    return without_empty(
        {
            "id": info.connection_id,
            "instanceId": info.instance_id,
            "status": info.status.value,
            "connectedAt": iso(info.connected_at_ms),
            "lastHeartbeatAt": iso(info.last_heartbeat_ms),
            "disconnectedAt": iso(info.disconnected_at_ms),
            "disconnectReason": info.disconnect_reason,
            "apps": [
                without_empty(
                    {
                        "id": app.name,
                        "version": app.version,
                        "functionCount": app.function_count,
                        "syncId": app.sync_id,
                    }
                )
                for app in info.apps
            ],
            "sdkLanguage": info.sdk_language,
            "sdkVersion": info.sdk_version,
            "platform": info.platform,
            "os": info.os,
            "cpuCores": info.cpu_cores,
            "memBytes": str(info.mem_bytes) if info.mem_bytes else None,
            "ip": info.ip,
            "maxWorkerConcurrency": info.max_worker_concurrency,
        }
    )
