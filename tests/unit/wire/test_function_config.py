"""One function's configuration: what is read, and what is refused with which reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.errors import WireError
from stepwell.wire.function_config import (
    UNSUPPORTED_OPTIONS,
    Cancel,
    Equality,
    FunctionConfig,
    Trigger,
    parse_equality,
    parse_function,
)

URL = "wss://connect?fnId=shop-ship&stepId=step"


def config(**changes: Any) -> dict[str, Any]:
    return {
        "id": "shop-ship",
        "name": "Ship",
        "triggers": [{"event": "order/paid"}],
        "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "ws", "url": URL}}},
        **changes,
    }


def with_step(**changes: Any) -> dict[str, Any]:
    step = {"id": "step", "name": "step", "runtime": {"url": URL}, **changes}
    return config(steps={"step": step})


def read(given: Any) -> FunctionConfig:
    return parse_function(json.dumps(given).encode())


def refusal(given: Any) -> WireError:
    with pytest.raises(WireError) as caught:
        read(given)
    assert caught.value.status == 400
    assert caught.value.message.startswith("At least one function is invalid")
    return caught.value


def test_usual_function() -> None:
    function = read(config())

    assert function.slug == "shop-ship"
    assert function.name == "Ship"
    assert function.triggers == (Trigger(event="order/paid"),)
    assert function.retries == 4
    assert function.url == URL
    assert function.on_connect


def test_a_stored_function_reads_back_the_same() -> None:
    function = read(config(unknown={"kept": 9007199254740993}, NAME="other"))

    assert parse_function(bytes(function.raw)) == function
    assert json.loads(bytes(function.raw))["unknown"] == {"kept": 9007199254740993}


def test_keys_in_another_letter_case() -> None:
    given = {
        "ID": "shop-ship",
        "Name": "Ship",
        "Triggers": [{"Event": "order/paid", "EXPRESSION": None}],
        "Steps": {"step": {"NAME": "x", "Runtime": {"URL": URL}, "Retries": {"Attempts": 2}}},
    }

    function = read(given)

    assert (function.slug, function.retries, function.url) == ("shop-ship", 2, URL)
    assert set(json.loads(bytes(function.raw))) == {"id", "name", "triggers", "steps"}


@pytest.mark.parametrize(
    ("url", "on_connect"),
    [
        ("ws://connect?fnId=shop-ship&step=step", True),
        ("wss://connect/?fnId=shop-ship&stepId=step", True),
        ("wss://connect", True),
        ("http://localhost:3000/api/inngest?fnId=shop-ship&stepId=step", False),
        ("https://example.com/x?fnId=other", False),
    ],
)
def test_the_url_decides_the_way(url: str, on_connect: bool) -> None:
    assert read(with_step(runtime={"type": "http", "url": url})).on_connect is on_connect


@pytest.mark.parametrize(
    ("given", "retries"),
    [
        (with_step(retries={"attempts": 0}), 0),
        (with_step(retries={"attempts": 20}), 20),
        (with_step(retries={"attempts": 21}), 20),
        (with_step(retries={"attempts": 10**30}), 20),
        (with_step(retries={}), 4),
        (with_step(retries=None), 4),
        (config(retries=3), 3),
        (with_step(retries={"attempts": 1}) | {"retries": 9}, 1),
    ],
)
def test_retries(given: Any, retries: int) -> None:
    assert read(given).retries == retries


@pytest.mark.parametrize(
    ("name", "slug"), [("Ship It", "ship-it"), ("  Ünï 7!", "n-7"), ("a__b", "a-b")]
)
def test_id_from_name(name: str, slug: str) -> None:
    given = config(id="", name=name)
    given["steps"]["step"]["runtime"]["url"] = f"wss://connect?fnId={slug}"

    assert read(given).slug == slug


@pytest.mark.parametrize("triggers", [[], None])
def test_a_function_may_have_no_trigger(triggers: Any) -> None:
    assert read(config(triggers=triggers)).triggers == ()


def test_exactly_the_limits() -> None:
    slug = "x" * 512
    given = config(id=slug, name=slug, triggers=[{"event": f"e{n}"} for n in range(10)])
    given["steps"]["step"]["runtime"]["url"] = "wss://connect"

    function = read(given)

    assert (function.slug, function.name, len(function.triggers)) == (slug, slug, 10)


@pytest.mark.parametrize("event", ["a", "a/*", "a.b.*", "inngest/function.failed", "x" * 255])
def test_event_names(event: str) -> None:
    assert read(config(triggers=[{"event": event}])).triggers == (Trigger(event=event),)


def test_failure_handlers_trigger() -> None:
    expression = "event.data.function_id == 'shop-ship'"
    trigger = {"event": "inngest/function.failed", "expression": expression}

    (read_trigger,) = read(config(triggers=[trigger])).triggers

    assert read_trigger.expression == expression
    assert parse_equality(expression) == Equality(path=("function_id",), value="shop-ship")


@pytest.mark.parametrize("value", [None, "", 0, [], {}, {"run": None}, False])
@pytest.mark.parametrize("option", UNSUPPORTED_OPTIONS)
def test_an_option_that_says_nothing_is_no_option(option: str, value: Any) -> None:
    assert read(config(**{option: value})).slug == "shop-ship"


@pytest.mark.parametrize("spell", [str, str.lower, str.upper, str.capitalize])
@pytest.mark.parametrize("option", UNSUPPORTED_OPTIONS)
def test_an_option_that_is_not_supported_is_refused_by_name(option: str, spell: Any) -> None:
    error = refusal(config(**{spell(option): {"limit": 1, "period": "1s"}}))

    assert error.code == "function_unsupported"
    assert "'shop-ship'" in error.message
    assert option in error.message


@pytest.mark.parametrize(
    "expression",
    ["event.data.total > 10", "event.name == 'a'", "event.data.a == 'x' && true", "no such thing"],
)
def test_a_trigger_keeps_its_expression_whatever_it_means(expression: str) -> None:
    (trigger,) = read(config(triggers=[{"event": "a", "expression": expression}])).triggers

    assert trigger == Trigger(event="a", expression=expression)


@pytest.mark.parametrize(
    ("given", "jitter_ms"),
    [({}, 0), ({"jitter": None}, 0), ({"jitter": ""}, 0), ({"jitter": "0s"}, 0),
     ({"jitter": "1s"}, 1_000), ({"JITTER": "5m"}, 300_000), ({"jitter": " 30s "}, 30_000)],
)  # fmt: skip
def test_a_schedule_and_its_jitter(given: Any, jitter_ms: int) -> None:
    (trigger,) = read(config(triggers=[{"cron": "0 9 * * 1", **given}])).triggers

    assert trigger == Trigger(cron="0 9 * * 1", jitter_ms=jitter_ms)


def test_schedules_of_a_function_beside_its_events() -> None:
    given = [{"cron": "* * * * *"}, {"event": "a"}, {"cron": "TZ=Europe/Paris 0 9 * * *"}]

    assert [trigger.cron for trigger in read(config(triggers=given)).triggers] == [
        "* * * * *",
        None,
        "TZ=Europe/Paris 0 9 * * *",
    ]


def test_cancels() -> None:
    given = [
        {"event": "order/void", "if": " async.data.id == event.data.id ", "timeout": "1h"},
        {"Event": "shop/closed", "IF": None, "timeout": ""},
        {"event": "a", "timeout": "2030-01-01T00:00:00Z"},
    ]

    assert read(config(cancel=given)).cancels == (
        Cancel(event="order/void", expression="async.data.id == event.data.id", timeout="1h"),
        Cancel(event="shop/closed"),
        Cancel(event="a", timeout="2030-01-01T00:00:00Z"),
    )


@pytest.mark.parametrize(
    ("given", "start_ms", "finish_ms"),
    [
        (None, None, None),
        ({}, None, None),
        ({"start": "10s"}, 10_000, None),
        ({"Start": None, "FINISH": "1d12h"}, None, 129_600_000),
        ({"start": "0s", "finish": "1ms"}, 0, 1),
    ],
)
def test_timeouts(given: Any, start_ms: int | None, finish_ms: int | None) -> None:
    function = read(config(timeouts=given))

    assert (function.start_timeout_ms, function.finish_timeout_ms) == (start_ms, finish_ms)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (1, "it must be an object"),
        ([], "it must be an object"),
        (config(name=""), "A function name is required"),
        (config(name=None), "A function name is required"),
        (config(name=5), "name must be a text"),
        (config(id=5), "id must be a text"),
        (config(id=None, name="!!"), "it has no id"),
        (config(id="x" * 513), "512 characters"),
        (config(steps={}), "exactly one step, not 0"),
        (config(steps=None), "exactly one step, not 0"),
        (config(steps={"a": {}, "b": {}}), "exactly one step, not 2"),
        (config(steps=[{}]), "steps must be an object"),
        (config(steps={"step": 1}), "its step must be an object"),
        (with_step(name=""), "its step has no name"),
        (with_step(runtime=None), "must begin with http, https, ws or wss"),
        (with_step(runtime=[]), "runtime must be an object"),
        (with_step(runtime={"url": 1}), "url must be a text"),
        (with_step(runtime={"url": "ftp://x"}), "must begin with http, https, ws or wss"),
        (with_step(runtime={"url": "connect"}), "must begin with http, https, ws or wss"),
        (with_step(runtime={"url": "ws://[::1"}), "cannot be read"),
        (with_step(runtime={"url": "wss://connect?fnId=other"}), "the fnId in its url is 'other'"),
        (with_step(retries={"attempts": -1}), "retries must be a whole number"),
        (with_step(retries={"attempts": 1.5}), "retries must be a whole number"),
        (with_step(retries={"attempts": True}), "retries must be a whole number"),
        (with_step(retries="3"), "retries must be a whole number"),
        (config(triggers={}), "triggers must be an array"),
        (config(triggers=[1]), "a trigger must be an object"),
        (config(triggers=[{}]), "either an event or a cron schedule"),
        (config(triggers=[{"event": "a", "cron": "* * * * *"}]), "either an event or a cron"),
        (config(triggers=[{"event": 1}]), "event must be a text"),
        (config(triggers=[{"cron": "*" * 256}]), "255 characters"),
        (config(triggers=[{"cron": "* * * * *", "expression": "true"}]), "have an expression"),
        (config(triggers=[{"cron": "* * * * *", "jitter": "999ms"}]), "from 1s to 5m"),
        (config(triggers=[{"cron": "* * * * *", "jitter": "301s"}]), "from 1s to 5m"),
        (config(triggers=[{"cron": "* * * * *", "jitter": "soon"}]), "its jitter: "),
        (config(triggers=[{"cron": "* * * * *", "jitter": 30}]), "jitter must be a text"),
        (
            config(triggers=[{"cron": "* * * * *"}, {"cron": "* * * * *", "jitter": "5s"}]),
            "'* * * * *' is there twice",
        ),
        (config(cancel={}), "cancel must be an array"),
        (config(cancel=["a"]), "a cancel must be an object"),
        (config(cancel=[{"event": f"e{n}"} for n in range(6)]), "5 cancels, not 6"),
        (config(cancel=[{}]), "the event of a cancel must have 1 to 255 characters"),
        (config(cancel=[{"event": "x" * 256}]), "the event of a cancel must have 1 to 255"),
        (config(cancel=[{"event": "a", "timeout": "soon"}]), "the timeout of a cancel: "),
        (config(cancel=[{"event": "a", "if": 1}]), "if must be a text"),
        (config(timeouts=[]), "timeouts must be an object"),
        (config(timeouts={"start": "soon"}), "its start timeout: "),
        (config(timeouts={"finish": "-1s"}), "its finish timeout"),
        (config(triggers=[{"event": "a", "expression": 1}]), "expression must be a text"),
        (config(triggers=[{"event": "x" * 256}]), "255 characters"),
        (config(triggers=[{"event": f"e{n}"} for n in range(11)]), "10 triggers, not 11"),
        (config(triggers=[{"event": "a"}, {"event": "a"}]), "'a' is there twice"),
        *(
            (config(triggers=[{"event": event}]), "a * only at its end")
            for event in ("*", "a*", "a/*/b", "/*", "a/**", "*/a", "a/b*")
        ),
    ],
)
def test_invalid_functions(given: Any, reason: str) -> None:
    error = refusal(given)

    assert error.code == "function_invalid"
    assert reason in error.message


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(WireError) as caught:
        parse_function(b"{")

    assert caught.value.code == "function_invalid"


def test_texts_of_peers_are_shortened() -> None:
    assert len(refusal(with_step(runtime={"url": "x" * 100_000})).message) < 400


@pytest.mark.parametrize(
    ("text", "equality"),
    [
        ("event.data.a == 'x'", Equality(path=("a",), value="x")),
        (' event.data.a.b_2.C=="x y" ', Equality(path=("a", "b_2", "C"), value="x y")),
        ("event.data._inngest.fn_slug == ''", Equality(path=("_inngest", "fn_slug"), value="")),
        (r"event.data.a == 'it\'s \\ \"\n\r\t'", Equality(path=("a",), value="it's \\ \"\n\r\t")),
        ('event.data.a == "it\'s"', Equality(path=("a",), value="it's")),
        ("event.data.a == 'é'", Equality(path=("a",), value="é")),
    ],
)
def test_equality(text: str, equality: Equality) -> None:
    assert parse_equality(text) == equality


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "event.data == 'x'",
        "event.data.a",
        "event.data.a == x",
        "event.data.a == 1",
        "event.data.a = 'x'",
        "event.data.a != 'x'",
        "'x' == event.data.a",
        "event.data.a == 'x",
        "event.data.a == 'x' || true",
        "event.data.a == 'it's'",
        r"event.data.a == '\x41'",
        "event.data.a == 'x\ny'",
        "event.data['a'] == 'x'",
        "event.data.a-b == 'x'",
        "event.data.1a == 'x'",
        "async.data.a == 'x'",
        "event.data.a == r'x'",
        "event.data." + "a" * 100_000,
        "event.data.a == '" + "\\\\" * 100_000,
    ],
)
def test_another_expression_is_no_equality(text: str) -> None:
    assert parse_equality(text) is None
