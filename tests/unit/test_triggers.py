"""Triggers, cancels and timeouts, as the server is told of them, and what is refused before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from stepwell.client import Client
from stepwell.errors import ConfigError
from stepwell.event import EventType
from stepwell.triggers import (
    Cancel,
    Timeouts,
    Trigger,
    TriggerCron,
    TriggerDeferred,
    TriggerEvent,
    cancel_fields,
    timeout_fields,
    trigger_fields,
)
from stepwell.wire.functions import parse_function

PAID = EventType("order/paid", dict)


def written(trigger: Trigger) -> dict[str, str]:
    return trigger_fields("ship", "shop-ship", trigger)


# --- events ---


@pytest.mark.parametrize(
    ("trigger", "fields"),
    [
        (TriggerEvent("order/paid"), {"event": "order/paid"}),
        (TriggerEvent(PAID), {"event": "order/paid"}),
        (TriggerEvent("order/*"), {"event": "order/*"}),
        (
            TriggerEvent(PAID, "event.data.total > 10"),
            {"event": "order/paid", "expression": "event.data.total > 10"},
        ),
        (TriggerEvent("x" * 255), {"event": "x" * 255}),
    ],
)
def test_trigger_names_its_event(trigger: TriggerEvent, fields: dict[str, str]) -> None:
    assert written(trigger) == fields


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (None, "must be the name of an event"),
        (5, "must be the name of an event"),
        ({"name": "a"}, "must be the name of an event"),
        ("", "has 0 characters"),
        ("x" * 256, "has 256 characters"),
    ],
)
def test_event_has_a_name(event: Any, what: str) -> None:
    with pytest.raises(ConfigError, match=f"'ship' has a trigger.*{what}"):
        written(TriggerEvent(event))
    with pytest.raises(ConfigError, match=f"'ship' has a cancel.*{what}"):
        cancel_fields("ship", [Cancel(event)])


def test_condition_is_a_text() -> None:
    with pytest.raises(ConfigError, match="expression=True"):
        written(TriggerEvent("e", True))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="if_exp=5"):
        cancel_fields("ship", [Cancel("e", if_exp=5)])  # type: ignore[arg-type]


# --- schedules ---


@pytest.mark.parametrize(
    ("jitter", "text"),
    [
        (timedelta(seconds=30), "30s"),
        (timedelta(seconds=1), "1s"),
        (timedelta(minutes=5), "5m"),
        (timedelta(milliseconds=1_500), "2s"),
        ("1m30s", "1m30s"),
    ],
)
def test_schedule_has_its_jitter(jitter: Any, text: str) -> None:
    fields = written(TriggerCron("TZ=Europe/Paris 0 9 * * 1-5", jitter=jitter))

    assert fields == {"cron": "TZ=Europe/Paris 0 9 * * 1-5", "jitter": text}


@pytest.mark.parametrize(
    "jitter",
    [0, 30_000, True, 1.5, "", "soon", "0s", "10m", timedelta(0), timedelta(minutes=6), "-1s"],
)
def test_jitter_is_a_time_within_its_bounds(jitter: Any) -> None:
    with pytest.raises(ConfigError, match="from 1 second to 5 minutes"):
        written(TriggerCron("0 3 * * *", jitter=jitter))


@pytest.mark.parametrize("cron", [None, 5, "", "x" * 256])
def test_schedule_is_a_text(cron: Any) -> None:
    with pytest.raises(ConfigError, match="has a schedule that is no text"):
        written(TriggerCron(cron))


# --- deferred ---


def test_deferred_function_is_started_by_its_own_name() -> None:
    assert written(TriggerDeferred()) == {
        "event": "inngest/deferred.schedule",
        "expression": "event.data._inngest.fn_slug == 'shop-ship'",
    }


@pytest.mark.parametrize("fn_id", ["it's", "back\\slash"])
def test_deferred_function_s_id_can_stand_in_its_condition(fn_id: str) -> None:
    with pytest.raises(ConfigError, match="cannot hold a quote or a backslash"):
        trigger_fields(fn_id, f"shop-{fn_id}", TriggerDeferred())


# --- cancels and timeouts ---


def test_cancels_are_written() -> None:
    cancels = [
        Cancel("order/cancelled", if_exp="event.data.id == async.data.id", timeout=90_000),
        Cancel(PAID, timeout=timedelta(days=1)),
        Cancel("all/cancelled"),
    ]

    assert cancel_fields("ship", cancels) == [
        {"event": "order/cancelled", "if": "event.data.id == async.data.id", "timeout": "1m30s"},
        {"event": "order/paid", "timeout": "1d"},
        {"event": "all/cancelled"},
    ]


@pytest.mark.parametrize("cancels", [Cancel("e"), "e", ["e"], None, 5, [None], {"event": "e"}])
def test_cancels_are_a_list(cancels: Any) -> None:
    with pytest.raises(ConfigError, match="must be a list of Cancel"):
        cancel_fields("ship", cancels)


def test_cancels_have_a_limit() -> None:
    assert len(cancel_fields("ship", [Cancel("e")] * 5)) == 5
    with pytest.raises(ConfigError, match="has 6 cancels; at most 5"):
        cancel_fields("ship", [Cancel("e")] * 6)


def test_timeouts_are_written() -> None:
    assert timeout_fields("ship", Timeouts(start=60_000, finish=timedelta(hours=1))) == {
        "start": "1m",
        "finish": "1h",
    }
    assert timeout_fields("ship", Timeouts(finish=1)) == {"finish": "1s"}
    assert timeout_fields("ship", Timeouts()) == {}


@pytest.mark.parametrize("timeouts", [5, "1h", {"finish": 5}, timedelta(hours=1)])
def test_timeouts_have_a_type(timeouts: Any) -> None:
    with pytest.raises(ConfigError, match="must be a Timeouts"):
        timeout_fields("ship", timeouts)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("1h", "must be milliseconds or a timedelta"),
        (1.5, "must be milliseconds or a timedelta"),
        (True, "must be milliseconds or a timedelta"),
        (-1, "must be 0 or more"),
        (timedelta(seconds=-1), "must be 0 or more"),
    ],
)
def test_times_are_times(given: Any, what: str) -> None:
    with pytest.raises(ConfigError, match=f"the timeout of a cancel is .*{what}"):
        cancel_fields("ship", [Cancel("e", timeout=given)])
    with pytest.raises(ConfigError, match=f"the start timeout is .*{what}"):
        timeout_fields("ship", Timeouts(start=given))


# --- all together ---


def test_server_understands_every_kind() -> None:
    client = Client(app_id="shop", is_production=False)
    ship = client.create_function(
        fn_id="ship",
        trigger=[
            TriggerEvent(PAID, "event.data.total > 10"),
            TriggerCron("CRON_TZ=Asia/Tokyo */5 * * * *", jitter="30s"),
            TriggerDeferred(),
        ],
        cancel=[Cancel("c", if_exp="event.data.id == async.data.id", timeout=1_000)],
        timeouts=Timeouts(start=1_000, finish=2_000),
    )(lambda _ctx: 1)

    parsed = parse_function(msgspec.json.encode(ship.configuration("wss://connect")))

    assert [trigger.event for trigger in parsed.triggers] == [
        "order/paid",
        None,
        "inngest/deferred.schedule",
    ]
    assert parsed.triggers[1].cron == "CRON_TZ=Asia/Tokyo */5 * * * *"
    assert (parsed.start_timeout_ms, parsed.finish_timeout_ms) == (1_000, 2_000)
    assert parsed.cancels[0].expression == "event.data.id == async.data.id"


def test_short_form_takes_events_types_and_schedules() -> None:
    client = Client(app_id="shop", is_production=False)

    ship = client.function("ship", event=[PAID, "b"], cron=["0 3 * * *", "0 4 * * *"])(
        lambda _ctx: 1
    )

    assert ship.triggers == (
        TriggerEvent(PAID),
        TriggerEvent("b"),
        TriggerCron("0 3 * * *"),
        TriggerCron("0 4 * * *"),
    )
    with pytest.raises(ConfigError, match="has 0 triggers"):
        client.function("ship")(lambda _ctx: 1)
