"""`GET /v2/workers`: the connections of workers. An addition of ours to v2.

Source: docs/reference/http-api.md, "Workers".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.responses import iso, v2_data, without_empty
from stepwell.server.api.rest_v2.paths import both
from stepwell.server.workers import WorkerStatus
from stepwell.wire.ids import ulid_text

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from stepwell.server.api.context import Context
    from stepwell.server.workers import WorkerInfo

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
APPS_MAX: Final = 100

LIVE: Final = frozenset(WorkerStatus) - {WorkerStatus.DISCONNECTED}


class WorkerReads:
    """Live connections, and on request those that ended."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            *both("/workers", self.listing),
            *both("/workers/{connection_id}", self.one),
        ]

    async def listing(self, request: Request) -> Response:
        """By the time they connected, newest first."""
        query = request.query_params
        limit = queries.limit(query, default=LIMIT_DEFAULT, most=LIMIT_MAX)
        cursor = queries.cursor(query)
        apps = query.getlist("appId")
        if len(apps) > APPS_MAX:
            raise WireError(f"appId may be given {APPS_MAX} times", code="invalid_field_format")
        infos = self._context.worker_history.list(
            self._context.reader,
            statuses=_statuses(query),
            app_names=apps,
            instance_id=query.get("instanceId") or None,
            before=None if cursor is None else ulid_text(cursor),
            limit=limit + 1,  # one more tells whether there is more
        )
        page: dict[str, Any] = {"limit": limit}
        if len(infos) > limit:
            page |= {"hasMore": True, "cursor": infos[limit - 1].connection_id}
        return v2_data(
            [worker_object(info, self._context) for info in infos[:limit]],
            now_ms=self._context.runtime.now_ms(),
            page=page,
        )

    async def one(self, request: Request) -> Response:
        info = self._context.worker_history.get(
            self._context.reader, request.path_params["connection_id"]
        )
        if info is None:
            raise WireError("Worker not found", code="not_found", status=404)
        return v2_data(worker_object(info, self._context), now_ms=self._context.runtime.now_ms())


def worker_object(info: WorkerInfo, context: Context) -> dict[str, Any]:
    """One connection; no `maxWorkerConcurrency` means no limit. `load` is there while it lives."""
    shown = without_empty(
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
    shown["callsDone"] = info.calls_done
    if info.is_live:
        load = context.runtime.load(info.connection_id, info.instance_id)
        shown["load"] = {
            "calls": load.calls,
            "instanceCalls": load.instance_calls,
            "limit": load.limit,
        }
    return shown


def _statuses(query: QueryParams) -> frozenset[WorkerStatus]:
    """Those that `status` names; else the live ones, and with `all=true` the ended ones too."""
    everyone = queries.flag(query, "all")
    texts = [text.upper() for text in query.getlist("status")]
    if not texts:
        return frozenset(WorkerStatus) if everyone else LIVE
    try:
        return frozenset(map(WorkerStatus, texts))
    except ValueError as error:
        raise WireError(
            f"status must be one of {', '.join(WorkerStatus)}", code="invalid_field_format"
        ) from error
