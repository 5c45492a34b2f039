"""`GET /v0/connect/envs/{env}/...`."""

from __future__ import annotations

import msgspec

from stepwell.server.workers import WorkerApp, WorkerStatus
from stepwell.wire.ids import app_uuid
from tests.unit.server.api.bench import Api, open_api
from tests.unit.server.api.rest_v2.test_workers import INFO
from tests.unit.server.api.rows import T0_MS
from tests.unit.server.loop import on_loop

SHOP_ID = app_uuid("shop")
GROUP = "5f" * 32


def enter(api: Api, connection_id: str, status: WorkerStatus, *, synced: bool = True) -> None:
    app = WorkerApp(name="shop", version="v1", function_count=2)
    if synced:
        app = msgspec.structs.replace(app, app_id=SHOP_ID, sync_id="s", group_hash=GROUP)
    info = msgspec.structs.replace(
        INFO,
        connection_id=connection_id,
        status=status,
        apps=(app,),
        last_heartbeat_ms=T0_MS + 250,
    )
    api.book.connected(info)


@on_loop
async def test_connections_have_the_names_of_the_protocol() -> None:
    async with open_api() as api:
        enter(api, "c1", WorkerStatus.READY)
        enter(api, "c2", WorkerStatus.CONNECTED, synced=False)
        enter(api, "c3", WorkerStatus.READY)
        api.book.disconnected("c3", T0_MS)
        first, second = (await api.get("/v0/connect/envs/any/conns")).json["data"]
        assert first == {
            "id": "c1",
            "gateway_id": "gw-dev",
            "instance_id": "box-7",
            "all_worker_groups": {"shop": GROUP},
            "synced_worker_groups": {SHOP_ID: GROUP},
            "status": 1,
            "last_heartbeat_at": {"seconds": T0_MS // 1000, "nanos": 250_000_000},
            "sdk_language": "py",
            "sdk_version": "0.5.19",
            "attributes": {"cpu_cores": 8, "mem_bytes": 16_000_000_000, "os": "linux"},
        }
        assert "status" not in second, "a zero is left out"
        assert second["synced_worker_groups"] == {}


@on_loop
async def test_connections_of_one_app() -> None:
    async with open_api() as api:
        enter(api, "c1", WorkerStatus.READY)
        path = "/v0/connect/envs/dev/conns?app_id="
        assert len((await api.get(path + SHOP_ID)).json["data"]) == 1
        assert len((await api.get(path + SHOP_ID.upper())).json["data"]) == 1
        assert (await api.get(path + app_uuid("other"))).json["data"] == []
        assert (await api.get(path + "shop")).status == 400


@on_loop
async def test_a_group_names_its_connections() -> None:
    async with open_api() as api:
        enter(api, "c1", WorkerStatus.READY)
        enter(api, "c2", WorkerStatus.READY)
        enter(api, "c3", WorkerStatus.CONNECTED, synced=False)
        group = (await api.get(f"/v0/connect/envs/dev/groups/{GROUP}")).json["data"]
        assert (group["hash"], group["synced"], group["conns"]) == (GROUP, True, ["c1", "c2"])
        assert (group["app_name"], group["app_version"]) == ("shop", "v1")
        assert (await api.get("/v0/connect/envs/dev/groups/none")).status == 404


@on_loop
async def test_a_server_with_keys_wants_one() -> None:
    async with open_api(mode="start", signing_key="ab" * 16) as api:
        assert (await api.get("/v0/connect/envs/dev/conns")).status == 401
