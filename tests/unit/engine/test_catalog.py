"""Which functions there are, and which of them an event starts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.catalog import Catalog
from stepwell.engine.rows import PutApp, PutFunction
from stepwell.wire.functions import parse_register
from tests.unit.engine.scenario import function_config


def sync(catalog: Catalog, *functions: dict[str, Any], app: str = "shop", now_ms: int = 1) -> Any:
    body = {
        "appName": app,
        "url": "ws://connect",
        "functions": [function_config(app, **function) for function in functions],
    }
    return catalog.register(parse_register(json.dumps(body).encode()), now_ms)


def on(fn: str, *events: str, expression: str | None = None) -> dict[str, Any]:
    condition = {} if expression is None else {"expression": expression}
    return {"fn": fn, "triggers": [{"event": event, **condition} for event in events]}


def started(catalog: Catalog, name: str, data: Any = None) -> list[str]:
    return [entry.config.name for entry in catalog.started_by(name, lambda: data)]


@pytest.mark.parametrize(
    ("trigger", "name", "starts"),
    [
        ("order/paid", "order/paid", True),
        ("order/paid", "order/paid.late", False),
        ("order/paid", "order", False),
        ("order/*", "order/paid", True),
        ("order/*", "order/paid.late", True),
        ("order/*", "order/", True),
        ("order/*", "order", False),
        ("order/*", "reorder/paid", False),
        ("order/paid.*", "order/paid.late", True),
        ("order/paid.*", "order/paid", False),
        ("order/paid.*", "order/paid/late", False),
        ("a/b/*", "a/b/c", True),
        ("a/b/*", "a/c", False),
        ("inngest/*", "inngest/function.failed", True),
    ],
)
def test_a_trigger_matches_its_name_or_all_below_its_prefix(
    trigger: str, name: str, starts: bool
) -> None:
    catalog = Catalog()
    sync(catalog, on("ship", trigger))
    assert started(catalog, name) == (["ship"] if starts else [])


def test_functions_start_by_number_whatever_the_order_of_their_triggers() -> None:
    catalog = Catalog()
    sync(catalog, on("first", "a/b.*"), on("second", "a/*"), on("third", "a/b.c"))
    assert started(catalog, "a/b.c") == ["first", "second", "third"]


def test_a_function_starts_once_though_several_triggers_match() -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "order/paid", "order/*"))
    assert started(catalog, "order/paid") == ["ship"]


@pytest.mark.parametrize(
    ("data", "starts"),
    [
        ({"to": {"town": "Turku"}}, True),
        ({"to": {"town": "Oslo"}}, False),
        ({"to": {"town": None}}, False),
        ({"to": {"town": 7}}, False),
        ({"to": "Turku"}, False),
        ({"to": ["Turku"]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_an_expression_compares_one_text_in_the_data(data: Any, starts: bool) -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "order/paid", expression="event.data.to.town == 'Turku'"))
    assert started(catalog, "order/paid", data) == (["ship"] if starts else [])


def test_the_second_trigger_is_tried_when_the_first_has_a_false_expression() -> None:
    catalog = Catalog()
    triggers = [
        {"event": "order/paid", "expression": "event.data.kind == 'gift'"},
        {"event": "order/*"},
    ]
    sync(catalog, {"fn": "ship", "triggers": triggers})
    assert started(catalog, "order/paid", {"kind": "sale"}) == ["ship"]


def test_data_is_decoded_once_and_only_for_an_expression() -> None:
    catalog = Catalog()
    sync(
        catalog,
        on("plain", "order/paid"),
        on("gift", "order/gift", expression="event.data.kind == 'a'"),
        on("other", "order/gift", expression="event.data.kind == 'b'"),
    )
    decoded = 0

    def data() -> Any:
        nonlocal decoded
        decoded += 1
        return {"kind": "b"}

    catalog.started_by("order/paid", data)
    assert decoded == 0
    assert [entry.config.name for entry in catalog.started_by("order/gift", data)] == ["other"]
    assert decoded == 1


def test_the_same_configuration_again_writes_nothing() -> None:
    catalog = Catalog()
    assert sync(catalog, on("ship", "order/paid"))
    assert sync(catalog, on("ship", "order/paid")) == []


def test_a_changed_function_keeps_its_number_and_its_age() -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "order/paid"), on("bill", "order/paid"), now_ms=1)
    rows = sync(catalog, on("ship", "order/*"), on("bill", "order/paid"), now_ms=2)
    ship = next(row for row in rows if isinstance(row, PutFunction) and row.slug == "shop-ship")
    assert (ship.no, ship.version, ship.created_at_ms) == (1, 2, 1)


def test_a_function_that_is_no_longer_listed_starts_no_runs_but_is_still_known() -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "order/paid"), on("bill", "order/paid"))
    sync(catalog, on("bill", "order/paid"), now_ms=9)
    assert started(catalog, "order/paid") == ["bill"]
    assert [entry.slug for entry in catalog.functions] == ["shop-bill"]
    ship = catalog.by_no(1)
    assert ship is not None
    assert ship.archived_at_ms == 9
    assert catalog.by_slug(app_name="shop", slug="shop-ship") == ship


def test_a_function_that_is_listed_again_goes_on_under_its_number() -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "order/paid"), on("bill", "order/paid"))
    sync(catalog, on("bill", "order/paid"))
    sync(catalog, on("ship", "order/paid"), on("bill", "order/paid"))
    assert started(catalog, "order/paid") == ["ship", "bill"]
    ship = catalog.by_slug(app_name="shop", slug="shop-ship")
    assert ship is not None
    assert (ship.no, ship.version, ship.archived_at_ms) == (1, 2, None)


def test_the_sync_of_one_app_leaves_others_alone() -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "order/paid"))
    sync(catalog, on("ship", "order/paid"), app="bank")
    assert [(entry.app_name, entry.no) for entry in catalog.functions] == [("shop", 1), ("bank", 2)]
    sync(catalog, app="bank")
    assert [entry.app_name for entry in catalog.functions] == ["shop"]


def test_a_catalog_loaded_from_its_rows_is_the_same() -> None:
    catalog = Catalog()
    rows = [
        *sync(catalog, on("ship", "order/paid", expression="event.data.a == 'b'"), on("x", "y")),
        *sync(catalog, on("ship", "order/*")),
    ]
    latest = {row.no: row for row in rows if isinstance(row, PutFunction)}
    again = Catalog()
    again.load([row for row in rows if isinstance(row, PutApp)][-1:], latest.values())
    assert again.functions == catalog.functions
    assert again.apps == catalog.apps
    assert again.by_no(2) == catalog.by_no(2)
    assert started(again, "order/paid") == ["ship"]


def test_attempts_are_one_more_than_retries() -> None:
    catalog = Catalog()
    sync(catalog, {"fn": "ship", "retries": 0}, {"fn": "bill"})
    assert [entry.max_attempts for entry in catalog.functions] == [1, 5]
