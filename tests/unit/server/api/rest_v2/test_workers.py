"""`GET /v2/workers`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from stepwell.server.workers import WorkerApp, WorkerInfo, WorkerStatus
from stepwell.wire.ids import ulid_bytes, ulid_text
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.rows import T0_MS
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from tests.unit.server.api.bench import Api

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
        api.book.answered(INFO.connection_id)
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
            "callsDone": 1,
            "load": {"calls": 0, "instanceCalls": 0, "limit": 1_000},
        }
        assert (await api.get("/v2/workers/nope")).status == 404


def id_of(number: int) -> str:
    return ulid_text(ulid_bytes(T0_MS + number, bytes(10)))


async def ids(api: Api, query: str) -> list[str]:
    answer = await api.get(f"/v2/workers?{query}")
    assert answer.status == 200, answer.body
    return [one["instanceId"] for one in answer.json.get("data", [])]


def enter(api: Api, number: int, *apps: str) -> None:
    api.book.connected(
        msgspec.structs.replace(
            INFO,
            connection_id=id_of(number),
            instance_id=str(number),
            apps=tuple(
                WorkerApp(name=name, version=None, function_count=1) for name in apps or ("shop",)
            ),
        )
    )


def leave(api: Api, number: int) -> None:
    api.book.leaving(id_of(number), "WORKER_SHUTDOWN")
    api.book.disconnected(id_of(number), T0_MS + 5_000)


@on_loop
async def test_live_workers_are_listed_and_ended_ones_on_request() -> None:
    async with open_api() as api:
        for number in range(4):
            enter(api, number)
        leave(api, 1)
        assert await ids(api, "") == ["3", "2", "0"]
        assert await ids(api, "all=true") == ["3", "2", "1", "0"]
        assert await ids(api, "status=DISCONNECTED") == ["1"]
        assert await ids(api, "status=ready&status=disconnected") == ["3", "2", "1", "0"]
        assert await ids(api, "status=DRAINING") == []
        ended = (await api.get(f"/v2/workers/{id_of(1)}")).json["data"]
        assert (ended["status"], ended["disconnectReason"]) == ("DISCONNECTED", "WORKER_SHUTDOWN")
        assert ended["disconnectedAt"] == "2026-09-21T14:13:25.000Z"
        assert "load" not in ended


@on_loop
async def test_ended_workers_are_listed_from_the_store_page_by_page() -> None:
    async with open_api() as api, api.history:
        for number in range(5):
            enter(api, number, "shop", f"app-{number % 2}")
        for number in (1, 2, 3):
            leave(api, number)
        while len(api.store.reader().ended_workers(limit=9)) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert await ids(api, "all=true") == ["4", "3", "2", "1", "0"]
        seen, cursor = [], ""
        while True:
            answer = (await api.get(f"/v2/workers?all=1&limit=2&cursor={cursor}")).json
            seen += [one["instanceId"] for one in answer["data"]]
            if "cursor" not in answer["page"]:
                break
            cursor = answer["page"]["cursor"]
        assert seen == ["4", "3", "2", "1", "0"]
        assert await ids(api, "all=1&appId=app-1") == ["3", "1"]
        assert await ids(api, "all=1&appId=app-1&appId=app-0") == ["4", "3", "2", "1", "0"]
        assert await ids(api, "all=1&instanceId=2") == ["2"]
        assert (await api.get(f"/v2/workers/{id_of(2)}")).json["data"]["status"] == "DISCONNECTED"


@on_loop
async def test_what_cannot_be_read_is_refused() -> None:
    async with open_api() as api:
        for query in ("all=maybe", "status=gone", "cursor=nope", "&".join(["appId=a"] * 101)):
            assert (await api.get(f"/v2/workers?{query}")).status == 400
