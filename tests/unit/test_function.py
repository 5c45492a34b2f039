"""Functions, as they are declared and as the server is told of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.client import Client
from stepwell.errors import ConfigError
from stepwell.function import Function, TriggerEvent
from stepwell.wire.functions import parse_function

if TYPE_CHECKING:
    from stepwell.context import Context, ContextSync

PAID = TriggerEvent(event="order/paid")


async def handler(_ctx: Context) -> int:
    return 1


def handler_sync(_ctx: ContextSync) -> int:
    return 1


@pytest.fixture
def client() -> Client:
    return Client(app_id="shop", is_production=False)


def test_configuration(client: Client) -> None:
    ship = client.create_function(
        fn_id="ship",
        trigger=[PAID, TriggerEvent(event="order/resent", expression="event.data.kind == 'x'")],
        name="Ship it",
        retries=2,
    )(handler)

    assert ship.configuration("wss://connect") == {
        "id": "shop-ship",
        "name": "Ship it",
        "triggers": [
            {"event": "order/paid"},
            {"event": "order/resent", "expression": "event.data.kind == 'x'"},
        ],
        "steps": {
            "step": {
                "id": "step",
                "name": "step",
                "runtime": {"type": "ws", "url": "wss://connect?fnId=shop-ship&stepId=step"},
                "retries": {"attempts": 2},
            }
        },
    }


def test_short_form_is_the_same_declaration(client: Client) -> None:
    short = client.function("ship", event=["order/paid", "order/resent"], retries=0)(handler)
    long = client.create_function(
        fn_id="ship", trigger=[PAID, TriggerEvent(event="order/resent")], retries=0
    )(handler)

    assert short.configuration("wss://connect") == long.configuration("wss://connect")


def test_short_form_has_the_condition_for_each_event(client: Client) -> None:
    ship = client.function("ship", event=["a", "b"], expression="event.data.x == '1'")(handler)

    assert ship.triggers == (
        TriggerEvent("a", "event.data.x == '1'"),
        TriggerEvent("b", "event.data.x == '1'"),
    )


def test_defaults(client: Client) -> None:
    ship = client.create_function(fn_id="ship", trigger=PAID)(handler)

    assert (ship.id, ship.local_id, ship.name) == ("shop-ship", "ship", "ship")
    assert "retries" not in ship.configuration("wss://connect")["steps"]["step"]
    assert ship.with_failure_handler() == [ship]


def test_failure_handler_is_a_function_of_its_own(client: Client) -> None:
    ship = client.create_function(
        fn_id="ship", trigger=PAID, name="Ship it", retries=3, on_failure=handler_sync
    )(handler)

    [_, failure] = ship.with_failure_handler()
    assert not failure.is_async
    configuration = failure.configuration("wss://connect")
    assert configuration["id"] == "shop-ship-failure"
    assert configuration["name"] == "Ship it (failure)"
    assert configuration["triggers"] == [
        {
            "event": "inngest/function.failed",
            "expression": "event.data.function_id == 'shop-ship'",
        }
    ]
    assert configuration["steps"]["step"]["retries"] == {"attempts": 0}


def test_server_understands_the_configuration(client: Client) -> None:
    ship = client.function("größe/1", event="order/*", retries=2, on_failure=handler)(handler)

    for function in ship.with_failure_handler():
        parsed = parse_function(msgspec.json.encode(function.configuration("wss://connect")))
        assert parsed.slug == function.id
        assert parsed.name == function.name
        assert parsed.retries == function.retries
        assert parsed.on_connect
        assert [trigger.event for trigger in parsed.triggers] == [
            trigger.event for trigger in function.triggers
        ]


class AsyncObject:
    async def __call__(self, ctx: Context) -> int:
        return 1


@pytest.mark.parametrize(
    ("given", "is_async"),
    [
        (handler, True),
        (handler_sync, False),
        (functools.partial(handler), True),
        (functools.partial(handler_sync), False),
        (AsyncObject(), True),
        (lambda _ctx: 1, False),
    ],
)
def test_kind_of_handler(client: Client, given: Any, is_async: bool) -> None:
    function: Function[int] = client.create_function(fn_id="f", trigger=PAID)(given)

    assert function.is_async is is_async


@pytest.mark.parametrize(
    "options",
    [
        {"fn_id": "", "trigger": PAID},
        {"fn_id": "f", "trigger": []},
        {"fn_id": "f", "trigger": [PAID] * 11},
        {"fn_id": "f", "trigger": TriggerEvent(event="")},
        {"fn_id": "f", "trigger": TriggerEvent(event="e" * 256)},
        {"fn_id": "it's", "trigger": PAID, "on_failure": handler},
        {"fn_id": "f", "trigger": PAID, "retries": -1},
        {"fn_id": "f", "trigger": PAID, "retries": 21},
    ],
)
def test_declaration_that_cannot_be_registered_is_refused(
    client: Client, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        client.create_function(**options)(handler)


@pytest.mark.parametrize("option", ["concurrency", "cron", "throttle", "batch_events", "cancel"])
def test_option_that_this_version_does_not_know_is_refused(client: Client, option: str) -> None:
    options: dict[str, Any] = {"fn_id": "f", "trigger": PAID, option: 1}

    with pytest.raises(TypeError, match=option):
        client.create_function(**options)


def test_representation_names_the_function(client: Client) -> None:
    assert repr(client.function("ship", event="e")(handler)) == "<Function shop-ship>"
