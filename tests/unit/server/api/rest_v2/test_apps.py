"""`GET /v2/apps` and below."""

from __future__ import annotations

import msgspec

from stepwell.wire.ids import app_uuid, function_uuid
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.rows import APP, SHOP, T0_MS, put_function
from tests.unit.server.gateway.messages import function
from tests.unit.server.loop import on_loop


@on_loop
async def test_an_app_is_shown_whole() -> None:
    async with open_api(SHOP) as api:
        assert (await api.get("/v2/apps/shop")).json["data"] == {
            "id": "shop",
            "name": "shop",
            "method": "CONNECT",
            "appVersion": "v1",
            "functionCount": 2,
            "latestSync": {
                "status": "success",
                "syncedAt": "2026-09-21T14:13:20.000Z",
                "sdkLanguage": "py",
                "framework": "connect",
                "url": "ws://connect?app_name=shop",
            },
        }


@on_loop
async def test_apps_are_listed_by_name_in_pages() -> None:
    apps = [
        msgspec.structs.replace(APP, name=f"app{n}", app_id=app_uuid(f"app{n}")) for n in range(5)
    ]
    async with open_api(apps) as api:
        page = (await api.get("/v2/apps?limit=2")).json
        assert [app["id"] for app in page["data"]] == ["app0", "app1"]
        assert page["page"] == {"limit": 2, "hasMore": True, "cursor": "app1"}
        page = (await api.get("/v2/apps?limit=3&cursor=app1")).json
        assert [app["id"] for app in page["data"]] == ["app2", "app3", "app4"]
        assert page["page"] == {"limit": 3}


@on_loop
async def test_a_function_is_found_by_any_of_its_names() -> None:
    async with open_api(SHOP) as api:
        uuid = function_uuid("shop", "shop-ship")
        for name in ("ship", "shop-ship", uuid):
            shown = (await api.get(f"/v2/apps/shop/functions/{name}")).json["data"]
            assert shown == {
                "id": uuid,
                "name": "shop-ship",
                "slug": "ship",
                "app": {"id": "shop"},
                "triggers": [{"type": "EVENT", "value": "shop/order.paid"}],
                "configuration": {"retries": {"value": 4, "isDefault": True}},
            }


@on_loop
async def test_a_schedule_is_a_trigger_like_an_event() -> None:
    triggers = [{"cron": "0 9 * * *"}, {"event": "a", "expression": "event.data.n > 1"}]
    row = msgspec.structs.replace(
        put_function(), config=msgspec.json.encode(function("shop-ship", triggers=triggers))
    )
    async with open_api([APP, row]) as api:
        shown = (await api.get("/v2/apps/shop/functions/ship")).json["data"]
        assert shown["triggers"] == [
            {"type": "CRON", "value": "0 9 * * *"},
            {"type": "EVENT", "value": "a", "if": "event.data.n > 1"},
        ]


@on_loop
async def test_functions_are_listed_by_slug_without_archived_ones() -> None:
    rows = (APP, put_function(1), put_function(2, "shop-refund"),
            put_function(3, "shop-gone", archived_at_ms=T0_MS))  # fmt: skip
    async with open_api(rows) as api:
        listed = (await api.get("/v2/apps/shop/functions")).json["data"]
        assert [function["slug"] for function in listed] == ["refund", "ship"]


@on_loop
async def test_unknown_apps_and_functions_are_404() -> None:
    async with open_api(SHOP) as api:
        for path in ("/v2/apps/x", "/v2/apps/x/functions", "/v2/apps/shop/functions/x"):
            answer = await api.get(path)
            assert (answer.status, answer.json["errors"][0]["code"]) == (404, "not_found")
