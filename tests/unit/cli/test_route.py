"""`stepwell route`, against a scripted server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.unit.cli.test_trace import at

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cli.conftest import Ran, ScriptedApi

ROUTES: dict[str, Any] = {
    "app": {"id": "shop"},
    "connectPercent": 40,
    "pin": None,
    "transports": [
        {"transport": "connect", "appVersion": "v2", "syncedAt": at(0)},
        {"transport": "http", "url": "http://shop:3000/api/inngest", "syncedAt": at(0),
         "error": "nobody answers at http://shop:3000"},
    ],
    "functions": [
        {"slug": "bill", "connectPercent": 100, "chosenFor": "function", "workers": 3,
         "url": "http://shop:3000/api/inngest?fnId=shop-bill", "takesHttp": False},
        {"slug": "ship", "connectPercent": 40, "chosenFor": "app", "workers": 0,
         "url": None, "takesHttp": False},
        {"slug": "pack", "connectPercent": None, "chosenFor": None, "workers": 0,
         "url": "http://shop:3000/api/inngest?fnId=shop-pack", "takesHttp": True},
    ],
}  # fmt: skip


@pytest.fixture
def shop(script: ScriptedApi) -> ScriptedApi:
    script.answer("/v2/apps/shop/routes", {"data": ROUTES})
    script.answer("/v2/apps/shop/functions/bill/route", {"data": ROUTES})
    return script


def changed(script: ScriptedApi) -> list[tuple[str, str, Any]]:
    return [
        (request.method, request.path, msgspec.json.decode(request.body or b"null"))
        for request in script.requests
        if request.method != "GET"
    ]


def test_the_present_routes_are_shown_and_nothing_is_changed(
    ask: Callable[..., Ran], shop: ScriptedApi
) -> None:
    ran = ask("route", "shop")
    assert ran.code == 0
    assert changed(shop) == []
    lines = ran.out.splitlines()
    assert lines[:3] == ["app       shop", "route     40 % connect", "pin       none"]
    assert "connect   v2, synced" in ran.out
    assert "http      http://shop:3000/api/inngest, synced" in ran.out
    assert "nobody answers" in ran.out
    rows = [line.split() for line in lines[-3:]]
    assert rows == [
        ["bill", "connect", "alone", "function", "3", "resting"],
        ["ship", "40", "%", "connect", "app", "0", "no"],
        ["pack", "connect,", "else", "http", "0", "yes"],
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (("--connect", "10"), {"connectPercent": 10}),
        (("--connect", "0"), {"connectPercent": 0}),
        (("--reset",), {"connectPercent": None}),
        (("--pin",), {"pin": "version"}),
        (("--no-pin", "--connect", "5"), {"pin": None, "connectPercent": 5}),
    ],
)
def test_a_choice_for_an_app_says_only_what_was_chosen(
    ask: Callable[..., Ran], shop: ScriptedApi, given: tuple[str, ...], sent: dict[str, Any]
) -> None:
    assert ask("route", "shop", *given).code == 0
    assert changed(shop) == [("PUT", "/v2/apps/shop/routes", sent)]


def test_a_choice_for_a_function_shows_that_one(ask: Callable[..., Ran], shop: ScriptedApi) -> None:
    ran = ask("route", "shop", "bill", "--connect", "100")
    assert changed(shop) == [("PUT", "/v2/apps/shop/functions/bill/route", {"connectPercent": 100})]
    assert "bill" in ran.out
    assert "ship" not in ran.out


@pytest.mark.parametrize(
    "given",
    [
        ("--connect", "10", "--reset"),
        ("bill", "--pin"),
        ("bill", "--forget", "http"),
        ("--connect", "101"),
        ("--forget", "carrier-pigeon"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    ask: Callable[..., Ran], shop: ScriptedApi, given: tuple[str, ...]
) -> None:
    assert ask("route", "shop", *given).code == 2
    assert shop.requests == []


def test_a_transport_is_forgotten(ask: Callable[..., Ran], shop: ScriptedApi) -> None:
    shop.answer("/v2/apps/shop/transports/http", {"data": ROUTES})
    shop.answer("/v2/apps", {"data": [{"id": "shop"}]})
    ran = ask("route", "shop", "--forget", "http")
    assert changed(shop) == [("DELETE", "/v2/apps/shop/transports/http", None)]
    assert ran.out.startswith("app       shop")


def test_an_app_without_its_last_transport_is_said_to_be_gone(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    script.answer("/v2/apps/shop/transports/http", {})
    script.answer("/v2/apps", {"data": []})
    assert ask("route", "shop", "--forget", "http").out == "shop is registered no more.\n"


def test_an_app_that_is_not_there_is_an_error(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    ran = ask("route", "nobody")
    assert ran.code != 0
    assert "Nothing here" in ran.err


def test_as_json(ask: Callable[..., Ran], shop: ScriptedApi) -> None:
    ran = ask("route", "shop", "shop-bill", "--json")
    shown = msgspec.json.decode(ran.out)
    assert [each["slug"] for each in shown["functions"]] == ["bill"]
