"""What can be a function's handler, and what its annotation says of the events."""

from __future__ import annotations

import functools
from collections.abc import Mapping  # noqa: TC003 - an annotation that is evaluated
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

import stepwell
from stepwell.client import Client
from stepwell.errors import ConfigError
from stepwell.event import EventType

if TYPE_CHECKING:
    from stepwell.context import Context
    from tests.unit.test_event_types import DataOrder

CLIENT = Client(app_id="shop", is_production=False)


@dataclass
class Order:
    total: int


class Fields(TypedDict):
    total: int


async def takes_nothing() -> int:
    return 1


async def takes_two(_ctx: stepwell.Context, _step: object) -> int:
    return 1


async def takes_one(_ctx: stepwell.Context) -> int:
    return 1


async def has_defaults(_ctx: stepwell.Context, _more: int = 1, *_rest: int, **_named: int) -> int:
    return 1


def declare(handler: Any, **options: Any) -> stepwell.Function[Any]:
    return CLIENT.function("ship", event=options.pop("event", "order/paid"), **options)(handler)


@pytest.mark.parametrize(
    ("handler", "said"), [(takes_nothing, "no arguments"), (takes_two, "2 arguments")]
)
def test_handler_takes_the_context_alone(handler: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^function 'ship' takes {said};.*ctx: stepwell.Context"):
        declare(handler)
    with pytest.raises(ConfigError, match=f"^on_failure of function 'ship' takes {said}"):
        declare(takes_one, on_failure=handler)


@pytest.mark.parametrize(
    "handler", [has_defaults, functools.partial(takes_two, _step=None), lambda ctx: ctx, print]
)
def test_whatever_can_be_called_with_a_context_is_a_handler(handler: Any) -> None:
    assert declare(handler).handler is handler


@pytest.mark.parametrize("given", ["order_failed", 7, declare(takes_one)])
def test_what_is_no_function_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^function 'ship' is .*ctx: stepwell.Context"):
        declare(given)
    with pytest.raises(
        ConfigError, match=r"^on_failure of function 'ship' is .*before any @client"
    ):
        declare(takes_one, on_failure=given)


def test_decorator_without_arguments_is_refused() -> None:
    bare: Any = CLIENT.function

    with pytest.raises(ConfigError) as caught:
        bare(takes_one)
    assert caught.value.message.endswith('@client.function("takes_one", event="order/paid")')


# --- the type of the events ---


async def typed(_ctx: stepwell.Context[Order]) -> int:
    return 1


def typed_sync(_ctx: stepwell.ContextSync[Order]) -> int:
    return 1


async def typed_in_part(_ctx: stepwell.Context[dict[str, Any] | Order]) -> int:
    return 1


async def evaluated(_ctx: Any) -> int:
    return 1


evaluated.__annotations__["_ctx"] = stepwell.Context[Order]  # as without the __future__ import


@pytest.mark.parametrize(
    "handler", [typed, typed_sync, typed_in_part, evaluated, functools.partial(typed)]
)
def test_type_that_no_trigger_names_is_refused(handler: Any) -> None:
    with pytest.raises(ConfigError, match=r'event=EventType\("order/paid", Order\)'):
        declare(handler)

    assert declare(handler, event=EventType("order/paid", Order)).id == "shop-ship"


async def of_a_dict(_ctx: stepwell.Context[dict[str, Any]]) -> int:
    return 1


async def of_a_mapping(_ctx: stepwell.Context[Mapping[str, Any]]) -> int:
    return 1


async def of_fields(_ctx: stepwell.Context[Fields]) -> int:
    return 1


async def of_anything(_ctx: stepwell.Context[Any]) -> int:
    return 1


async def of_a_type_for_checkers(_ctx: stepwell.Context[DataOrder]) -> int:
    return 1


async def with_a_context_for_checkers(_ctx: Context[Order]) -> int:
    return 1


async def no_expression(_ctx: Any) -> int:
    return 1


no_expression.__annotations__["_ctx"] = "1 / 0"


@pytest.mark.parametrize(
    "handler",
    [
        of_a_dict,
        of_a_mapping,
        of_fields,
        of_anything,
        of_a_type_for_checkers,
        with_a_context_for_checkers,
        no_expression,
        takes_one,
    ],
)
def test_what_a_dict_is_or_cannot_be_known_is_no_mistake(handler: Any) -> None:
    assert declare(handler).handler is handler
