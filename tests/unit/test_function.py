"""Functions, as they are declared and as the server is told of them."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

import stepwell
from stepwell.client import Client
from stepwell.context import ContextSync as SyncAtRuntime
from stepwell.errors import ConfigError
from stepwell.triggers import Cancel, Timeouts, TriggerCron, TriggerEvent
from stepwell.wire.functions import parse_function

if TYPE_CHECKING:
    from stepwell.context import Context, ContextSync
    from stepwell.function import Function

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
        assert [TriggerEvent(each.event or "", each.expression) for each in parsed.triggers] == [
            *function.triggers
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


@pytest.mark.parametrize("option", ["concurrency", "throttle", "batch_events"])
def test_option_that_is_not_built_is_refused_by_name(client: Client, option: str) -> None:
    options: dict[str, Any] = {option: 1}

    with pytest.raises(ConfigError, match=f"'f': {option} is not built yet") as caught:
        client.create_function(fn_id="f", trigger=PAID, **options)
    assert caught.value.code == "function_unsupported"
    with pytest.raises(ConfigError, match=option):
        client.function("f", event="e", **options)


def test_option_that_nobody_knows_is_an_ordinary_type_error(client: Client) -> None:
    options: dict[str, Any] = {"retires": 1}

    with pytest.raises(TypeError, match="retires"):
        client.create_function(fn_id="f", trigger=PAID, **options)


def test_names_that_are_not_built_say_so() -> None:
    with pytest.raises(ConfigError, match="Throttle is not built yet") as caught:
        stepwell.Throttle  # noqa: B018 - looking it up is the mistake
    assert caught.value.code == "function_unsupported"
    with pytest.raises(AttributeError, match="TriggerCorn"):
        stepwell.TriggerCorn  # noqa: B018 - the same


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"fn_id": 1, "trigger": PAID}, "not 1"),
        ({"fn_id": "f", "trigger": "order/paid"}, "trigger='order/paid'"),
        ({"fn_id": "f", "trigger": ["order/paid"]}, "must be a TriggerEvent"),
        ({"fn_id": "f", "trigger": None}, "trigger=None"),
        ({"fn_id": "f", "trigger": TriggerEvent(event=cast("str", 1))}, "whose event is 1"),
        ({"fn_id": "f", "trigger": PAID, "retries": "3"}, "retries='3'"),
        ({"fn_id": "f", "trigger": PAID, "retries": 1.5}, "retries=1.5"),
        ({"fn_id": "f", "trigger": PAID, "retries": True}, "retries=True"),
    ],
)
def test_value_of_a_wrong_type_is_named(client: Client, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        client.create_function(**options)(handler)


@pytest.mark.parametrize("event", [None, 1, [None]])
def test_short_form_wants_names_of_events(client: Client, event: Any) -> None:
    with pytest.raises(ConfigError, match="name of an event"):
        client.function("f", event=event)(handler)


async def mixed_up(_ctx: ContextSync) -> int:
    return 1


class MixedUp:
    async def __call__(self, _ctx: SyncAtRuntime) -> int:
        return 1


MixedUp.__call__.__annotations__["_ctx"] = SyncAtRuntime  # as without the __future__ import


@pytest.mark.parametrize("given", [mixed_up, functools.partial(mixed_up), MixedUp()])
def test_async_function_with_a_sync_context_is_refused(client: Client, given: Any) -> None:
    with pytest.raises(ConfigError, match="takes a ContextSync"):
        client.function("f", event="e")(given)


def test_representation_names_the_function(client: Client) -> None:
    assert repr(client.function("ship", event="e")(handler)) == "<Function shop-ship>"


def test_schedules_cancels_and_timeouts_are_registered(client: Client) -> None:
    ship = client.create_function(
        fn_id="ship",
        trigger=[TriggerCron("TZ=Europe/Paris 0 9 * * 1-5", jitter=timedelta(seconds=30)), PAID],
        cancel=[
            Cancel("order/cancelled", if_exp="event.data.id == async.data.id", timeout=90_000),
            Cancel("all/cancelled"),
        ],
        timeouts=Timeouts(start=timedelta(minutes=1), finish=2_500),
    )(handler)

    configuration = ship.configuration("wss://connect")
    assert configuration["triggers"][0] == {"cron": "TZ=Europe/Paris 0 9 * * 1-5", "jitter": "30s"}
    assert configuration["cancel"] == [
        {
            "event": "order/cancelled",
            "if": "event.data.id == async.data.id",
            "timeout": "1m30s",
        },
        {"event": "all/cancelled"},
    ]
    assert configuration["timeouts"] == {"start": "1m", "finish": "3s"}
    parsed = parse_function(msgspec.json.encode(configuration))
    assert (parsed.start_timeout_ms, parsed.finish_timeout_ms) == (60_000, 3_000)
    assert [cancel.event for cancel in parsed.cancels] == ["order/cancelled", "all/cancelled"]
    assert parsed.triggers[0].jitter_ms == 30_000


def test_a_function_can_be_declared_for_a_schedule_alone(client: Client) -> None:
    nightly = client.function("nightly", cron="0 3 * * *")(handler)

    assert nightly.configuration("wss://connect")["triggers"] == [{"cron": "0 3 * * *"}]


@pytest.mark.parametrize(
    "options",
    [
        {"trigger": TriggerCron("0 3 * * *", jitter="10m")},
        {"trigger": TriggerCron("")},
        {"trigger": PAID, "cancel": [Cancel("c")] * 6},
        {"trigger": PAID, "cancel": ["order/cancelled"]},
        {"trigger": PAID, "cancel": [Cancel("c", timeout=True)]},
        {"trigger": PAID, "timeouts": Timeouts(start=-1)},
    ],
)
def test_what_starts_or_ends_a_function_must_make_sense(
    client: Client, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        client.create_function(fn_id="f", **options)(handler)
