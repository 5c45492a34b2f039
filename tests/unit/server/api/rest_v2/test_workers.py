"""`GET /v2/workers`."""

from __future__ import annotations

import msgspec

from stepwell.server.workers import WorkerApp, WorkerInfo, WorkerStatus
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.rows import T0_MS
from tests.unit.server.loop import on_loop

INFO = WorkerInfo(
    connection_id="01K7T09A4B0000000000000000",
    instance_id="box-7",
    apps=(WorkerApp(name="shop", version="v1", function_count=2, app_id="a", sync_id="s"),),
    status=WorkerStatus.READY,
    connected_at_ms=T0_MS,
    last_heartbeat_ms=T0_MS + 1_000,
    sdk_language="py",
    sdk_version="0.5.19",
    platform="",
    ip="203.0.113.9",
    os="linux",
    cpu_cores=8,
    mem_bytes=16_000_000_000,
    max_worker_concurrency=3,
)


@on_loop
async def test_a_worker_is_shown_whole() -> None:  # Connect 54
    async with open_api() as api:
        api.book.connected(INFO)
        assert (await api.get(f"/v2/workers/{INFO.connection_id}")).json["data"] == {
            "id": INFO.connection_id,
            "instanceId": "box-7",
            "status": "READY",
            "connectedAt": "2026-09-21T14:13:20.000Z",
            "lastHeartbeatAt": "2026-09-21T14:13:21.000Z",
            "apps": [{"id": "shop", "version": "v1", "functionCount": 2, "syncId": "s"}],
            "sdkLanguage": "py",
            "sdkVersion": "0.5.19",
            "os": "linux",
            "cpuCores": 8,
            "memBytes": "16000000000",
            "ip": "203.0.113.9",
            "maxWorkerConcurrency": 3,
        }
        assert (await api.get("/v2/workers/nope")).status == 404


@on_loop
async def test_live_workers_are_listed_and_ended_ones_on_request() -> None:
    async with open_api() as api:
        for n in range(4):
            api.book.connected(msgspec.structs.replace(INFO, connection_id=str(n)))
        api.book.leaving("1", "WORKER_SHUTDOWN")
        api.book.disconnected("1", T0_MS + 5_000)

        async def ids(query: str) -> list[str]:
            return [one["id"] for one in (await api.get(f"/v2/workers?{query}")).json["data"]]

        assert await ids("") == ["0", "2", "3"]
        assert await ids("all=true") == ["0", "2", "3", "1"]
        assert await ids("all=1&limit=2") == ["0", "2"]
        assert (await api.get("/v2/workers?limit=2")).json["page"] == {"limit": 2, "hasMore": True}
        ended = (await api.get("/v2/workers/1")).json["data"]
        assert (ended["status"], ended["disconnectReason"]) == ("DISCONNECTED", "WORKER_SHUTDOWN")
        assert ended["disconnectedAt"] == "2026-09-21T14:13:25.000Z"
        assert (await api.get("/v2/workers?all=maybe")).status == 400
