"""`GET` and `PUT /v2/apps/{app}/routes`, and what goes with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.engine.test_transports import URL, connected, served
from tests.unit.server.api.bench import open_api
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from tests.unit.server.api.bench import Answer, Api


async def shop(api: Api) -> None:
    """An app with two functions over HTTP, one of them over Connect as well."""
    await api.runtime.register(served("ship", "bill"))
    await api.runtime.register(connected("ship"))


async def put(api: Api, path: str, content: Any) -> Answer:
    return await api.request("PUT", f"/v2/apps/{path}", json.dumps(content).encode())


@on_loop
async def test_what_holds_without_a_choice() -> None:
    async with open_api([]) as api:
        await shop(api)
        shown = (await api.get("/v2/apps/shop/routes")).json["data"]
        assert shown["app"] == {"id": "shop"}
        assert shown["connectPercent"] is None
        assert shown["pin"] is None
        assert [each["transport"] for each in shown["transports"]] == ["connect", "http"]
        assert shown["transports"][1]["url"] == URL
        assert shown["functions"] == [
            {
                "slug": slug,
                "connectPercent": None,
                "chosenFor": None,
                "workers": 0,
                "url": f"{URL}?fnId=shop-{slug}",
                "takesHttp": False,
            }
            for slug in ("bill", "ship")
        ]


@on_loop
async def test_a_choice_is_stored_and_answered() -> None:
    async with open_api([]) as api:
        await shop(api)
        answer = await put(api, "shop/routes", {"connectPercent": 10, "pin": "version"})
        assert answer.status == 200
        shown = answer.json["data"]
        assert (shown["connectPercent"], shown["pin"]) == (10, "version")
        assert [each["chosenFor"] for each in shown["functions"]] == ["app", "app"]
        assert [row.connect_percent for row in api.store.load_routes()] == [10]


@on_loop
async def test_what_is_left_out_stays_and_null_takes_it_back() -> None:
    async with open_api([]) as api:
        await shop(api)
        await put(api, "shop/routes", {"connectPercent": 10})
        shown = (await put(api, "shop/routes", {"pin": "version"})).json["data"]
        assert (shown["connectPercent"], shown["pin"]) == (10, "version")
        shown = (await put(api, "shop/routes", {"connectPercent": None})).json["data"]
        assert (shown["connectPercent"], shown["pin"]) == (None, "version")
        await put(api, "shop/routes", {"pin": None})
        assert api.store.load_routes() == []


@on_loop
async def test_a_function_has_a_number_of_its_own() -> None:
    async with open_api([]) as api:
        await shop(api)
        await put(api, "shop/routes", {"connectPercent": 10})
        answer = await put(api, "shop/functions/ship/route", {"connectPercent": 100})
        bill, ship = answer.json["data"]["functions"]
        assert (bill["connectPercent"], bill["chosenFor"]) == (10, "app")
        assert (ship["connectPercent"], ship["chosenFor"]) == (100, "function")
        answer = await put(api, "shop/functions/shop-ship/route", {"connectPercent": None})
        assert answer.json["data"]["functions"][1]["chosenFor"] == "app"


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("nobody/routes", {"connectPercent": 1}, 404),
        ("shop/functions/nothing/route", {"connectPercent": 1}, 404),
        ("shop/routes", {"connectPercent": 101}, 400),
        ("shop/routes", {"connectPercent": -1}, 400),
        ("shop/routes", {"connectPercent": "half"}, 400),
        ("shop/routes", {"connectPercent": True}, 400),
        ("shop/routes", {"pin": "run"}, 400),
        ("shop/routes", [], 400),
        ("shop/functions/ship/route", {"pin": "version"}, 400),
    ],
)
@on_loop
async def test_what_is_no_choice_is_refused(path: str, content: Any, status: int) -> None:
    async with open_api([]) as api:
        await shop(api)
        answer = await put(api, path, content)
        assert answer.status == status
        assert answer.json["errors"][0]["message"]
        assert api.store.load_routes() == []


@on_loop
async def test_a_transport_is_forgotten_and_the_app_stays() -> None:
    async with open_api([]) as api:
        await shop(api)
        answer = await api.request("DELETE", "/v2/apps/shop/transports/http")
        shown = answer.json["data"]
        assert [each["transport"] for each in shown["transports"]] == ["connect"]
        assert [each["slug"] for each in shown["functions"]] == ["ship"]
        again = await api.request("DELETE", "/v2/apps/shop/transports/http")
        assert again.status == 404
        assert (await api.request("DELETE", "/v2/apps/shop/transports/pigeon")).status == 404


@on_loop
async def test_an_app_is_removed_at_its_url_and_its_workers_stay() -> None:
    async with open_api([]) as api:
        await shop(api)
        assert (await api.request("DELETE", f"/fn/remove?url={URL}")).status == 200
        assert [row.method for row in api.runtime.catalog.transports.all()] == ["connect"]
        assert "shop" in api.runtime.catalog.apps
