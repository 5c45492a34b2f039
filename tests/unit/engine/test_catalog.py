"""Which functions there are, and which of them an event starts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.catalog import Catalog, check_registration
from stepwell.engine.rows import PutApp, PutFunction
from stepwell.errors import WireError
from stepwell.wire.functions import Registration, parse_register
from tests.unit.engine.scenario import function_config


def registration(app: str, *functions: dict[str, Any]) -> Registration:
    body = {
        "appName": app,
        "url": "ws://connect",
        "functions": [function_config(app, **function) for function in functions],
    }
    return parse_register(json.dumps(body).encode())


def sync(catalog: Catalog, *functions: dict[str, Any], app: str = "shop", now_ms: int = 1) -> Any:
    return catalog.register(registration(app, *functions), now_ms)


def on(fn: str, *events: str, expression: str | None = None) -> dict[str, Any]:
    condition = {} if expression is None else {"expression": expression}
    return {"fn": fn, "triggers": [{"event": event, **condition} for event in events]}


def started(catalog: Catalog, name: str, data: Any = None) -> list[str]:
    found = catalog.started_by(name, lambda: {"name": name, "data": data}, 1)
    return [entry.config.name for entry in found]


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


@pytest.mark.parametrize(
    ("expression", "data", "starts"),
    [
        ("event.data.total > 10", {"total": 11}, True),
        ("event.data.total > 10", {"total": 10}, False),
        ("event.data.total > 10", {"total": "many"}, False),
        ("event.data.total > 10", {}, False),
        ("event.name == 'order/paid'", {}, True),
        ("event.data.kind == 'a' || event.data.kind == 'b'", {"kind": "b"}, True),
        ("event.data.total", {"total": 1}, False),
    ],
)
def test_any_expression_may_be_a_condition(expression: str, data: Any, starts: bool) -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "order/paid", expression=expression))
    assert started(catalog, "order/paid", data) == (["ship"] if starts else [])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"triggers": [{"event": "a", "expression": "event.data.x >"}]}, "event.data.x >"),
        ({"triggers": [{"event": "a", "expression": "nobody.data == 1"}]}, "nobody"),
        ({"triggers": [{"cron": "@daily"}]}, "five fields"),
        ({"triggers": [{"cron": "TZ=Mars/Base 0 0 * * *"}]}, "Mars/Base"),
        ({"triggers": [{"cron": "61 * * * *"}]}, "61 * * * *"),
        ({"cancel": [{"event": "a", "if": "async.data.x ="}]}, "async.data.x ="),
        ({"cancel": [{"event": "a", "if": "async.data.x + 1 == 2"}]}, "arithmetic"),
        ({"cancel": [{"event": "a", "if": "has(async.data.x)"}]}, "has()"),
    ],
)
def test_a_registration_that_means_nothing_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(WireError) as caught:
        check_registration(registration("shop", {"fn": "fine"}, {"fn": "ship", **options}))
    assert caught.value.code == "function_invalid"
    assert "'shop-ship'" in caught.value.message
    assert reason in caught.value.message


def test_a_registration_that_means_something_is_taken() -> None:
    triggers = [
        {"event": "a", "expression": "event.data.x > 1"},
        {"cron": "CRON_TZ=Asia/Tokyo */5 9-17 * * MON-FRI", "jitter": "5s"},
    ]
    cancel = [{"event": "b", "if": "async.data.x == event.data.x && async.data.n > 1"}]
    check_registration(registration("shop", {"fn": "ship", "triggers": triggers, "cancel": cancel}))


@pytest.mark.parametrize(
    ("expression", "more"),
    [
        (None, False),
        ("event.data.function_id == 'shop-ship'", False),
        ("event.data.run_id == 'x'", False),
        ("event.data.error.name == 'x'", True),
        ("event.data.function_id != 'x'", True),
    ],
)
def test_who_asks_more_of_a_lifecycle_event_than_its_ids(
    expression: str | None, more: bool
) -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "inngest/*", expression=expression), on("other", "order/paid"))
    assert catalog.asks_more_than_ids("inngest/function.failed") is more
    assert not catalog.asks_more_than_ids("order/paid")


def test_a_cancellation_may_ask_more_as_well() -> None:
    catalog = Catalog()
    plain = {"event": "b"}
    sync(catalog, {**on("ship", "a"), "cancel": [plain]})
    assert not catalog.asks_more_than_ids("a")
    sync(catalog, {**on("ship", "a"), "cancel": [plain, {"event": "c", "if": "event.data.x == 1"}]})
    assert catalog.asks_more_than_ids("a")


def test_a_function_is_named_by_its_slug_or_its_id_unless_it_is_archived() -> None:
    catalog = Catalog()
    sync(catalog, on("ship", "a"), on("bill", "a"))
    ship = catalog.named("shop-ship")
    assert ship is not None
    assert catalog.named(ship.function_id) is ship
    assert catalog.named("ship") is None
    sync(catalog, on("bill", "a"))
    assert catalog.named("shop-ship") is None


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

    def event() -> Any:
        nonlocal decoded
        decoded += 1
        return {"data": {"kind": "b"}}

    catalog.started_by("order/paid", event, 1)
    assert decoded == 0
    assert [entry.config.name for entry in catalog.started_by("order/gift", event, 1)] == ["other"]
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
