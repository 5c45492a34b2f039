"""An app over HTTP and over Connect at once."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from stepwell.engine.catalog import REMOVED, Catalog
from stepwell.engine.rows import DeleteTransport, PutApp, PutFunction, PutTransport, Write
from stepwell.wire.functions import Registration, parse_connect_app, parse_register
from tests.unit.engine.scenario import function_config

NOW_MS = 1_760_000_000_000
URL = "http://shop:3000/api/inngest"


def served(*functions: str, url: str = URL, event: str = "order/paid") -> Registration:
    """What an app says of itself over HTTP."""
    configs = [function_config("shop", fn, triggers=[{"event": event}]) for fn in functions]
    for config in configs:
        config["steps"]["step"]["runtime"] = {"type": "http", "url": f"{url}?fnId={config['id']}"}
    body = {"appName": "shop", "url": url, "sdk": "py:v1", "functions": configs}
    return parse_register(json.dumps(body).encode())


def connected(*functions: str, version: str = "v1", event: str = "order/paid") -> Registration:
    """What a worker says of the same app."""
    configs = [function_config("shop", fn, triggers=[{"event": event}]) for fn in functions]
    return parse_connect_app(
        app_name="shop",
        app_version=version,
        functions=json.dumps(configs).encode(),
        sdk_language="py",
        sdk_version="v1",
        framework="connect",
        platform="",
        capabilities=b"{}",
    )


def catalog(*registrations: Registration) -> tuple[Catalog, list[Write]]:
    found, writes = Catalog(), []
    for registration in registrations:
        writes += found.register(registration, NOW_MS)
    return found, writes


def stored(writes: list[Write]) -> tuple[list[Any], list[Any], list[Any]]:
    """Apps, functions and transports as a store has them after these writes."""
    apps: dict[str, PutApp] = {}
    functions: dict[int, PutFunction] = {}
    transports: dict[tuple[str, str], PutTransport] = {}
    for write in writes:
        match write:
            case PutApp():
                apps[write.name] = write
            case PutFunction():
                functions[write.no] = write
            case PutTransport():
                transports[write.app_name, write.method] = write
            case DeleteTransport():
                del transports[write.app_name, write.method]
    return list(apps.values()), list(functions.values()), list(transports.values())


def slugs(found: Catalog) -> list[str]:
    return sorted(entry.slug for entry in found.functions)


def urls(found: Catalog) -> dict[str, str | None]:
    return {entry.slug: entry.http_url for entry in found.all_functions}


def test_neither_registration_replaces_the_other() -> None:
    for order in ((served("ship"), connected("ship")), (connected("ship"), served("ship"))):
        found, _ = catalog(*order)
        assert {row.method for row in found.transports.all()} == {"connect", "serve"}
        assert urls(found) == {"shop-ship": f"{URL}?fnId=shop-ship"}
        assert len(found.all_functions) == 1


def test_functions_are_those_that_either_lists() -> None:
    found, _ = catalog(served("ship", "bill"), connected("ship", "pack"))
    assert slugs(found) == ["shop-bill", "shop-pack", "shop-ship"]
    assert urls(found)["shop-pack"] is None


def test_what_both_drop_is_archived_and_what_one_drops_is_not() -> None:
    found, _ = catalog(served("ship", "bill"), connected("ship", "bill"), served("ship"))
    assert slugs(found) == ["shop-bill", "shop-ship"]
    assert urls(found)["shop-bill"] is None, "HTTP has it no more"
    found.register(connected("ship"), NOW_MS)
    assert slugs(found) == ["shop-ship"]


def test_the_configuration_that_was_registered_last_holds() -> None:
    found, _ = catalog(served("ship", event="a"), connected("ship", event="b"))
    assert [entry.slug for entry in found.started_by("b", dict, NOW_MS)] == ["shop-ship"]
    assert found.started_by("a", dict, NOW_MS) == []
    assert found.register(served("ship", event="a"), NOW_MS) == [], "it has said so before"
    assert found.started_by("a", dict, NOW_MS) == []


def test_each_transport_has_its_own_checksum() -> None:
    found, _ = catalog(served("ship"), connected("ship"))
    assert found.register(served("ship"), NOW_MS) == []
    assert found.register(connected("ship"), NOW_MS) == []
    assert found.register(connected("ship", version="v2"), NOW_MS) != []


def test_rows_bring_back_both() -> None:
    found, writes = catalog(served("ship", "bill"), connected("ship", "pack"), served("ship"))
    again = Catalog()
    again.load(*stored(writes))
    assert again.apps == found.apps
    assert again.all_functions == found.all_functions
    assert again.transports.all() == found.transports.all()


def test_an_app_of_before_is_known_by_its_rows_and_keeps_its_way() -> None:
    _, writes = catalog(served("ship"))
    apps, functions, _ = stored(writes)
    older = Catalog()
    older.load(apps, functions)
    assert urls(older) == {"shop-ship": f"{URL}?fnId=shop-ship"}
    assert older.register(served("ship"), NOW_MS) == [], "it has the same checksum"
    writes += older.register(connected("ship"), NOW_MS)
    again = Catalog()
    again.load(*stored(writes))
    assert {row.method for row in again.transports.all()} == {"connect", "serve"}
    assert urls(again) == urls(older)


def test_one_way_is_forgotten_and_the_other_stays() -> None:
    found, writes = catalog(served("ship", "bill"), connected("ship"))
    writes += found.remove("shop", NOW_MS, "serve")
    assert slugs(found) == ["shop-ship"]
    assert urls(found)["shop-ship"] is None
    assert found.apps["shop"].method == "connect"
    assert found.remove("shop", NOW_MS, "serve") == []
    assert found.register(connected("ship"), NOW_MS) != [], "what it says counts as new"
    again = Catalog()
    again.load(*stored(writes))
    assert slugs(again) == slugs(found)
    assert urls(again) == urls(found)


def test_without_its_last_way_an_app_is_gone() -> None:
    found, writes = catalog(connected("ship"))
    assert found.remove("shop", NOW_MS, "serve") == []
    writes += found.remove("shop", NOW_MS, "connect")
    assert found.apps == {}
    assert found.functions == []
    (app,), _, transports = stored(writes)
    assert app.method == REMOVED
    assert transports == []


def test_runs_of_what_is_gone_end_where_it_was_called() -> None:
    found, _ = catalog(served("ship", "bill"), served("ship"))
    assert urls(found)["shop-bill"] == f"{URL}?fnId=shop-bill"
    found.remove("shop", NOW_MS)
    assert urls(found)["shop-ship"] == f"{URL}?fnId=shop-ship"


def test_a_new_url_counts_for_all_functions() -> None:
    found, _ = catalog(served("ship"), connected("ship"))
    found.register(served("ship", url="http://other:80/api"), NOW_MS)
    assert urls(found) == {"shop-ship": "http://other:80/api?fnId=shop-ship"}


def test_rows_say_where_calls_go() -> None:
    _, writes = catalog(served("ship"))
    (row,) = [write for write in writes if isinstance(write, PutTransport)]
    assert msgspec.json.decode(row.functions) == {"shop-ship": f"{URL}?fnId=shop-ship"}
