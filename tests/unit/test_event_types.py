"""Events whose data has a type: written, read, and given to functions."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pydantic
import pytest

from stepwell.calling import context_of, context_sync_of, execution_of
from stepwell.client import Client
from stepwell.context import Context, ContextSync
from stepwell.errors import ConfigError, NonRetriableError
from stepwell.event import Event, EventType, read_event, write_events
from stepwell.triggers import TriggerCron, TriggerDeferred, TriggerEvent
from stepwell.wire.calls import decode_call
from tests.unit.calls import Sent, call_both

if TYPE_CHECKING:
    from stepwell.function import Function


class StructOrder(msgspec.Struct, frozen=True):
    total: Decimal
    at: datetime | None = None


@dataclass(frozen=True)
class Line:
    sku: str


@dataclass(frozen=True)
class DataOrder:
    total: Decimal
    lines: list[Line]


class DictOrder(TypedDict):
    total: int


class ModelOrder(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)

    total: Decimal
    at: datetime | None = None
    order_id: int = pydantic.Field(default=0, alias="orderId")


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    total: int


NOON = datetime(2026, 8, 20, 12, tzinfo=UTC)

# A type, a value of it, and the value's JSON.
SHAPES: list[tuple[Any, Any, Any]] = [
    (
        StructOrder,
        StructOrder(Decimal("1.5"), NOON),
        {"total": "1.5", "at": "2026-08-20T12:00:00Z"},
    ),
    (DataOrder, DataOrder(Decimal(2), [Line("tea")]), {"total": "2", "lines": [{"sku": "tea"}]}),
    (DictOrder, {"total": 3}, {"total": 3}),
    (
        ModelOrder,
        ModelOrder(total=Decimal(4), at=NOON, orderId=7),
        {"total": "4", "at": "2026-08-20T12:00:00Z", "orderId": 7},
    ),
    (dict, {"any": ["thing"]}, {"any": ["thing"]}),
    (dict[str, int], {"a": 1}, {"a": 1}),
]
shapes = pytest.mark.parametrize(
    ("shape", "value", "written"), SHAPES, ids=lambda each: getattr(each, "__name__", None)
)


def event(data: Any, name: str = "order/paid") -> Event[Any]:
    return Event(name=name, data=data, id="e", ts=5)


# --- the type of an event ---


@shapes
def test_event_of_a_type_is_written_and_read_back(shape: Any, value: Any, written: Any) -> None:
    paid = EventType("order/paid", shape)

    body = write_events([paid.create(value, id="e", ts=5)])

    [sent] = msgspec.json.decode(body)
    assert sent == {"name": "order/paid", "data": written, "id": "e", "ts": 5}
    came = paid.read(read_event(msgspec.json.encode(sent)))
    assert came == event(value)
    assert type(came.data) is type(value)


@shapes
def test_step_sends_and_awaits_events_of_a_type(shape: Any, value: Any, written: Any) -> None:
    sent = Sent()

    call_both(
        lambda ctx: ctx.step.send_event("tell", EventType("e", shape).create(value)), sent=sent
    )

    assert [batch[0].data for batch in sent.batches] == [value, value]


@pytest.mark.parametrize("data", [{}, {"total": "x"}, {"total": None}])
@pytest.mark.parametrize("shape", [StructOrder, DataOrder, DictOrder, ModelOrder, Strict])
def test_data_that_does_not_fit_says_where(shape: Any, data: Any) -> None:
    with pytest.raises(NonRetriableError, match="total") as caught:
        EventType("order/paid", shape).read(event(data))

    assert caught.value.code == "event_data_invalid"
    assert str(caught.value).startswith(f"the data of event 'order/paid' is not a {shape.__name__}")


def test_type_of_an_event_shows_its_name() -> None:
    assert repr(EventType("order/paid", dict)) == "<EventType order/paid>"


@pytest.mark.parametrize("name", [None, "", 5])
def test_type_of_an_event_needs_a_name(name: Any) -> None:
    with pytest.raises(ConfigError, match="needs the name of its events"):
        EventType(name, dict)


@pytest.mark.parametrize("data", [None, 5, {"total": int}, "Order"])
def test_type_of_an_event_needs_a_type(data: Any) -> None:
    with pytest.raises(ConfigError, match="needs the type of its data"):
        EventType("order/paid", data)


# --- what functions get ---


def function(*triggers: Any) -> Function[Any]:
    client = Client(app_id="shop", is_production=False)
    return client.create_function(fn_id="f", trigger=list(triggers))(lambda _ctx: 1)


def got(function: Function[Any], *events: dict[str, Any]) -> list[Context[Any] | ContextSync[Any]]:
    """What both twins are called with when these events come."""
    body = {
        "ctx": {"run_id": "r", "attempt": 0, "fn_id": "f", "step_id": "step"},
        "event": events[0],
        "events": list(events),
        "steps": {},
    }
    call = decode_call(msgspec.json.encode(body))
    execution = execution_of(call, None)
    client = Client(app_id="shop", is_production=False)
    contexts: list[Context[Any] | ContextSync[Any]] = [
        context_of(call, execution, client, function),
        context_sync_of(call, execution, client, function),
    ]
    return contexts


@shapes
def test_function_gets_data_of_the_trigger_s_type(shape: Any, value: Any, written: Any) -> None:
    paid = EventType("order/paid", shape)

    for ctx in got(function(TriggerEvent(paid)), {"name": "order/paid", "data": written}):
        assert ctx.event == Event(name="order/paid", data=value)
        assert ctx.events == [ctx.event]


def test_each_event_of_a_batch_has_its_type() -> None:
    paid, other = EventType("order/paid", DataOrder), EventType("order/sent", StructOrder)
    both = function(TriggerEvent(paid), TriggerEvent(other), TriggerEvent("order/lost"))

    for ctx in got(
        both,
        {"name": "order/sent", "data": {"total": "1"}},
        {"name": "order/paid", "data": {"total": "2", "lines": []}},
        {"name": "order/lost", "data": {"total": "3"}},
    ):
        assert [each.data for each in ctx.events] == [
            StructOrder(Decimal(1)),
            DataOrder(Decimal(2), []),
            {"total": "3"},
        ]
        assert ctx.event.data == StructOrder(Decimal(1))


def test_data_without_a_declared_type_is_an_object_as_it_came() -> None:
    for ctx in got(function(TriggerEvent("order/paid")), {"name": "order/paid", "data": None}):
        assert ctx.event.data == {}


@pytest.mark.parametrize("wildcard", ["order/*", "order/paid.*", "order.*"])
def test_wildcard_has_one_type_for_all_that_it_stands_for(wildcard: str) -> None:
    name = f"{wildcard[:-1]}x.y"
    declared = function(TriggerEvent(EventType(wildcard, DataOrder)))

    for ctx in got(declared, {"name": name, "data": {"total": "2", "lines": []}}):
        assert ctx.event == Event(name=name, data=DataOrder(Decimal(2), []))
    for ctx in got(declared, {"name": "orders", "data": {"total": "2"}}):
        assert ctx.event.data == {"total": "2"}


def test_first_trigger_that_stands_for_the_event_gives_its_type() -> None:
    triggers = [
        TriggerEvent(EventType("order/paid", StructOrder)),
        TriggerEvent(EventType("order/*", DictOrder)),
    ]

    for ctx in got(function(*triggers), {"name": "order/paid", "data": {"total": "1"}}):
        assert ctx.event.data == StructOrder(Decimal(1))
    for ctx in got(function(*triggers), {"name": "order/sent", "data": {"total": 1}}):
        assert ctx.event.data == {"total": 1}


@pytest.mark.parametrize("name", ["inngest/function.invoked", "inngest/deferred.schedule"])
@pytest.mark.parametrize("shape", [StructOrder, Strict, ModelOrder])
def test_run_that_is_started_by_name_has_data_of_the_type_too(name: str, shape: Any) -> None:
    """What the server adds to the data is left out for that: the type need not allow it."""
    declared = function(TriggerEvent(EventType("order/paid", shape)), TriggerDeferred())
    total: Any = 1 if shape is Strict else "1"
    data = {"total": total, "_inngest": {"fn_id": "shop-f"}}

    for ctx in got(declared, {"name": name, "data": data}):
        assert ctx.event.name == name
        assert type(ctx.event.data) is shape
        assert ctx.event.data.total == 1


def test_run_that_is_started_by_name_has_data_of_the_first_type_that_fits() -> None:
    declared = function(
        TriggerEvent(EventType("a", DataOrder)), TriggerEvent(EventType("b", Strict))
    )

    for ctx in got(declared, {"name": "inngest/function.invoked", "data": {"total": 1}}):
        assert type(ctx.event.data) is Strict
    with pytest.raises(NonRetriableError, match="is not a DataOrder") as caught:
        got(declared, {"name": "inngest/function.invoked", "data": {}})
    assert caught.value.code == "event_data_invalid"


def test_run_that_is_started_by_name_without_a_type_sees_what_the_server_adds() -> None:
    data = {"a": 1, "_inngest": {"fn_id": "shop-f"}}

    for ctx in got(function(TriggerEvent("e")), {"name": "inngest/function.invoked", "data": data}):
        assert ctx.event.data == data


def test_run_of_a_schedule_has_the_schedule_s_data() -> None:
    declared = function(TriggerCron("0 3 * * *"), TriggerEvent(EventType("e", Strict)))

    for ctx in got(declared, {"name": "inngest/scheduled.timer", "data": {"cron": "0 3 * * *"}}):
        assert ctx.event.data == {"cron": "0 3 * * *"}


def test_event_that_does_not_fit_is_told_before_the_function_begins() -> None:
    with pytest.raises(NonRetriableError) as caught:
        got(function(TriggerEvent(EventType("e", Strict))), {"name": "e", "data": {"total": "x"}})

    assert caught.value.code == "event_data_invalid"


class Plain:
    def __init__(self, total: int) -> None:
        self.total = total


def test_class_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigError, match="the class Plain, which cannot be read from JSON: make"):
        EventType("order/paid", Plain)


def test_type_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot be read from JSON: .* may not contain"):
        EventType("order/paid", list[StructOrder | DataOrder])


def test_type_that_refers_to_what_is_not_there_yet_is_taken() -> None:
    @dataclass
    class Later:
        lines: list[NotHere]  # type: ignore[name-defined]  # noqa: F821 - that is the point

    assert EventType("order/paid", Later).data is Later


# --- the types themselves, when the program runs ---


def test_types_can_be_named_when_the_program_runs() -> None:
    assert Context[DataOrder] is not None
    assert ContextSync[DataOrder] is not None
    assert Event[DataOrder](name="e", data=DataOrder(Decimal(1), [])).data.total == 1


async def takes_typed_sync(_ctx: ContextSync[DataOrder]) -> int:
    return 1


async def takes_evaluated_sync(_ctx: Any) -> int:
    return 1


takes_evaluated_sync.__annotations__["_ctx"] = ContextSync[DataOrder]  # without __future__


@pytest.mark.parametrize("handler", [takes_typed_sync, takes_evaluated_sync])
def test_async_function_with_a_typed_sync_context_is_refused(handler: Any) -> None:
    with pytest.raises(ConfigError, match="takes a ContextSync"):
        Client(app_id="shop", is_production=False).function("f", event="e")(handler)


def test_program_without_typing_extensions_runs() -> None:
    """It is named for type checkers, which bring it along."""
    code = (
        "import sys; sys.modules['typing_extensions'] = None\n"
        "import stepwell.context, stepwell.event, stepwell.step, stepwell.group\n"
        "stepwell.Context[int], stepwell.Event[int], stepwell.EventType('e', dict)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )

    assert done.returncode == 0, done.stderr
