"""Steps that the server performs, as functions use them: waits, invocations and requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from stepwell.client import Client
from stepwell.errors import StepError, StepwellError
from stepwell.event import Event, EventType
from stepwell.step_options import FetchResponse, Signal
from stepwell.wire.durations import parse_duration_ms
from stepwell.wire.ids import hash_step_id
from tests.unit.calls import (
    Sent,
    call_async,
    call_both,
    call_sync,
    error_of,
    memos,
    named,
    ops_of,
    result_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.context import Context, ContextSync
    from stepwell.outcome import Outcome


@dataclass
class Payment:
    order_id: int
    cents: int = 0


PAID = EventType("order/paid", Payment)

SHIP = Client(app_id="shop", is_production=False).function("ship", event="order/paid")(
    lambda _ctx: "shipped"
)


def invoked(ctx: Any, **options: Any) -> Any:
    return ctx.step.invoke("call", function=SHIP, **options)


def invoked_by_id(ctx: Any, **options: Any) -> Any:
    return ctx.step.invoke_by_id("call", function_id="ship", **options)


def waited(ctx: Any, **options: Any) -> Any:
    return ctx.step.wait_for_event("paid", **{"event": "order/paid", "timeout": 60_000, **options})


def signalled(ctx: Any, **options: Any) -> Any:
    return ctx.step.wait_for_signal("go", **{"signal": "order-7", **options})


def fetched(ctx: Any, url: Any = "https://example.com/a", **options: Any) -> Any:
    return ctx.step.fetch("get", url, **options)


ASKED: dict[str, tuple[Callable[..., Any], str]] = {
    "WaitForEvent": (waited, "paid"),
    "WaitForSignal": (signalled, "go"),
    "InvokeFunction": (invoked, "call"),
    "Gateway": (fetched, "get"),
}


def asked(asking: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """The one operation that is reported."""
    [op] = ops_of(call_both(lambda ctx: asking(ctx, **options)))
    return op


def mistaken(asking: Callable[..., Any], *args: Any, **options: Any) -> str:
    """What a function says that asks for something impossible: at once, and for good."""
    outcome = call_both(lambda ctx: asking(ctx, *args, **options))
    error = error_of(outcome)
    assert error["code"] == "config_invalid"
    assert outcome.no_retry
    return str(error["message"])


def given(asking: Callable[..., Any], memo: Any, **options: Any) -> Outcome:
    """What a function ends with that returns what the remembered step gives."""
    steps = {hash_step_id(step_id): memo for step_id in ("paid", "go", "call", "get")}
    return call_both(lambda ctx: asking(ctx, **options), steps)


# --- what all of them have in common ---


@pytest.mark.parametrize("op", ASKED)
def test_step_of_the_server_is_reported_under_the_user_s_id(op: str) -> None:
    asking, step_id = ASKED[op]

    reported = asked(asking)

    assert reported["op"] == op
    assert reported["id"] == hash_step_id(step_id)
    assert reported["displayName"] == step_id
    assert reported["userland"] == {"id": step_id}
    assert (reported["data"], reported["error"]) == (None, None)


@pytest.mark.parametrize("op", ASKED)
def test_step_of_the_server_is_reported_by_the_call_that_is_for_it_alone(op: str) -> None:
    asking, step_id = ASKED[op]

    aimed = call_both(asking, target=step_id, plan_only=True)
    assert named(aimed) == [(op, step_id)]
    assert error_of(call_both(asking, target="other"))["code"] == "step_unexpected"


@pytest.mark.parametrize("op", ASKED)
def test_step_of_the_server_that_failed_raises(op: str) -> None:
    asking, step_id = ASKED[op]
    steps = memos(**{step_id: {"error": {"name": "InvokedRunCancelled", "message": "gone"}}})

    async def handler(ctx: Context) -> str:
        try:
            await asking(ctx)
        except StepError as error:
            return f"{error.name}: {error}"
        return "not raised"

    assert result_of(call_async(handler, steps)) == "InvokedRunCancelled: gone"
    assert error_of(call_both(asking, steps))["message"] == "gone"


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("op", ASKED)
def test_step_of_the_server_wants_its_await(op: str) -> None:
    asking, step_id = ASKED[op]

    async def handler(ctx: Context) -> None:
        asking(ctx)

    error = error_of(call_async(handler))

    assert error["code"] == "step_not_awaited"
    assert f"step {step_id!r} was called without `await`" in error["message"]


@pytest.mark.parametrize("op", ASKED)
def test_step_of_the_server_inside_a_step_is_refused(op: str) -> None:
    asking, _ = ASKED[op]

    async def handler(ctx: Context) -> None:
        async def body() -> None:
            await asking(ctx)

        await ctx.step.run("outer", body)

    def handler_sync(ctx: ContextSync) -> None:
        ctx.step.run("outer", lambda: asking(ctx))

    for outcome in (call_async(handler), call_sync(handler_sync)):
        assert error_of(outcome)["code"] == "step_nested"


def test_id_used_twice_names_two_waits() -> None:
    async def handler(ctx: Context) -> list[Any]:
        first = await ctx.step.wait_for_event("paid", event="a", timeout=1)
        return [first, await ctx.step.wait_for_event("paid", event="b", timeout=1)]

    [op] = ops_of(call_async(handler, memos(paid=None)))

    assert op["id"] == hash_step_id("paid", 1)
    assert op["userland"] == {"id": "paid", "index": 1}
    assert op["opts"]["event"] == "b"


# --- wait_for_event ---


def test_wait_names_its_event_and_its_time() -> None:
    op = asked(waited)

    assert op["opts"] == {"event": "order/paid", "timeout": "1m"}
    assert op["name"] == "order/paid"


def test_wait_has_its_condition() -> None:
    condition = "event.data.order_id == async.data.order_id"

    assert asked(waited, if_exp=condition)["opts"]["if"] == condition


def test_wait_by_type_names_the_event_of_the_type() -> None:
    assert asked(waited, event=PAID) == asked(waited)


@pytest.mark.parametrize(
    ("timeout", "ms"),
    [(0, 0), (1, 1), (1_500, 1_500), (timedelta(days=2, milliseconds=3), 2 * 86_400_000 + 3)],
)
def test_wait_sends_its_exact_time(timeout: int | timedelta, ms: int) -> None:
    assert parse_duration_ms(asked(waited, timeout=timeout)["opts"]["timeout"]) == ms
    assert parse_duration_ms(asked(signalled, timeout=timeout)["opts"]["timeout"]) == ms
    assert parse_duration_ms(asked(invoked, timeout=timeout)["opts"]["timeout"]) == ms


def test_wait_gives_the_event() -> None:
    memo = {"name": "order/paid", "data": {"order_id": 7}, "id": "e", "ts": 5, "user": None}
    seen: list[Event | None] = []

    async def handler(ctx: Context) -> None:
        seen.append(await ctx.step.wait_for_event("paid", event="order/paid", timeout=1))

    def handler_sync(ctx: ContextSync) -> None:
        seen.append(ctx.step.wait_for_event("paid", event="order/paid", timeout=1))

    for memoised in (memo, {"data": memo}):  # bare, as the server writes it, or wrapped
        call_async(handler, memos(paid=memoised))
        call_sync(handler_sync, memos(paid=memoised))
    assert seen == [Event(name="order/paid", data={"order_id": 7}, id="e", ts=5)] * 4


def test_wait_by_type_gives_data_of_the_type() -> None:
    seen: list[Event[Payment] | None] = []

    async def handler(ctx: Context) -> None:
        seen.append(await ctx.step.wait_for_event("paid", event=PAID, timeout=1))

    def handler_sync(ctx: ContextSync) -> None:
        seen.append(ctx.step.wait_for_event("paid", event=PAID, timeout=1))

    steps = memos(paid={"name": "order/paid", "data": {"order_id": 7, "cents": 5}})
    call_async(handler, steps)
    call_sync(handler_sync, steps)
    assert seen == [Event(name="order/paid", data=Payment(7, 5))] * 2


@pytest.mark.parametrize("event", ["order/paid", PAID])
@pytest.mark.parametrize("memo", [None, {"data": None}])
def test_wait_without_an_event_gives_nothing(event: Any, memo: Any) -> None:
    assert result_of(given(waited, memo, event=event)) is None


def test_event_that_does_not_fit_the_type_fails_the_run_at_once() -> None:
    outcome = given(waited, {"name": "order/paid", "data": {"order_id": "x"}}, event=PAID)

    error = error_of(outcome)
    assert error["code"] == "event_data_invalid"
    assert error["message"].startswith("the data of event 'order/paid' is not a Payment: ")
    assert "$.order_id" in error["message"]
    assert outcome.no_retry


@pytest.mark.parametrize(
    "memo", [5, "text", [1], {}, {"name": 5}, {"data": {"data": {}}}, {"name": "e", "data": 5}]
)
@pytest.mark.parametrize("event", ["order/paid", PAID])
def test_memo_that_is_no_event_is_told(event: Any, memo: Any) -> None:
    error = error_of(given(waited, memo, event=event))

    assert error["code"] == "output_invalid"
    assert error["message"].startswith("the stored value is not a Event")


@pytest.mark.parametrize("event", [None, "", 5, Event(name="order/paid")])
def test_wait_needs_the_name_of_an_event(event: Any) -> None:
    assert "needs the name of an event" in mistaken(waited, event=event)


@pytest.mark.parametrize("timeout", [None, "1h", 1.5, True, -1, timedelta(seconds=-1)])
def test_wait_needs_a_time(timeout: Any) -> None:
    assert mistaken(waited, timeout=timeout).startswith("a timeout ")


def test_condition_is_a_text() -> None:
    assert "if_exp is a condition as a text" in mistaken(waited, if_exp=True)


# --- wait_for_signal and send_signal ---


def test_wait_for_a_signal_names_it() -> None:
    op = asked(signalled)

    assert op["opts"] == {"signal": "order-7", "conflict": "fail"}
    assert op["name"] == "order-7"
    assert asked(signalled, on_conflict="replace")["opts"]["conflict"] == "replace"


def test_wait_gives_the_signal() -> None:
    seen: list[Signal | None] = []

    async def handler(ctx: Context) -> None:
        seen.append(await ctx.step.wait_for_signal("go", signal="order-7"))

    def handler_sync(ctx: ContextSync) -> None:
        seen.append(ctx.step.wait_for_signal("go", signal="order-7"))

    steps = memos(go={"data": {"signal": "order-7", "data": {"by": "ann"}}})
    call_async(handler, steps)
    call_sync(handler_sync, steps)
    assert seen == [Signal("order-7", {"by": "ann"})] * 2


@pytest.mark.parametrize("memo", [None, {"data": None}])
def test_wait_without_a_signal_gives_nothing(memo: Any) -> None:
    assert result_of(given(signalled, memo)) is None


@pytest.mark.parametrize("memo", [5, "text", [], {"data": {"data": 1}}, {"data": {"signal": 5}}])
def test_memo_that_is_no_signal_is_told(memo: Any) -> None:
    error = error_of(given(signalled, memo))

    assert error["code"] == "output_invalid"
    assert error["message"].startswith("the stored value is not a Signal")


@pytest.mark.parametrize("signal", [None, "", 5])
def test_wait_needs_the_name_of_a_signal(signal: Any) -> None:
    assert "needs the name of a signal" in mistaken(signalled, signal=signal)


def test_conflict_is_one_of_two_words() -> None:
    assert "must be 'fail' or 'replace'" in mistaken(signalled, on_conflict="wait")


def sends_signal(ctx: Any) -> Any:
    return ctx.step.send_signal("tell", signal="order-7", data={"by": "ann"})


def test_signal_is_sent_as_a_step() -> None:
    sent = Sent()

    [op] = ops_of(call_both(sends_signal, sent=sent))

    assert (op["op"], op["data"], op["opts"]) == ("StepRun", True, {"type": "step.sendSignal"})
    assert sent.signals == [("order-7", {"by": "ann"})] * 2  # by each of the twins


def test_sent_signal_is_not_sent_again() -> None:
    sent = Sent()

    assert result_of(call_both(sends_signal, memos(tell={"data": False}), sent=sent)) is False
    assert sent.signals == []


def test_signal_that_cannot_be_sent_fails_the_step() -> None:
    [op] = ops_of(call_both(sends_signal, sent=Sent(StepwellError("refused"))))

    assert (op["op"], op["error"]["message"]) == ("StepError", "refused")


@pytest.mark.parametrize("memo", ["yes", {"data": ["x"]}])
def test_memo_that_is_no_answer_to_a_signal_is_told(memo: Any) -> None:
    assert error_of(call_both(sends_signal, memos(tell=memo)))["code"] == "output_invalid"


@pytest.mark.parametrize("memo", ["id", {"data": [1]}, {"data": {"ids": []}}])
def test_memo_that_is_no_list_of_ids_is_told(memo: Any) -> None:
    outcome = call_both(lambda ctx: ctx.step.send_event("send", Event(name="a")), memos(send=memo))

    assert error_of(outcome)["code"] == "output_invalid"


# --- invoke ---


def test_invocation_names_the_function_and_brings_its_data() -> None:
    op = asked(invoked, data={"order_id": 7}, user={"id": 1}, v="2", timeout=60_000)

    assert op["opts"] == {
        "function_id": "shop-ship",
        "payload": {"data": {"order_id": 7}, "user": {"id": 1}, "v": "2"},
        "timeout": "1m",
    }


def test_invocation_without_data_brings_an_empty_object() -> None:
    assert asked(invoked)["opts"] == {"function_id": "shop-ship", "payload": {"data": {}}}


def test_invocation_by_id_is_the_same_operation() -> None:
    assert asked(invoked_by_id, data={"a": 1}) == asked(invoked, data={"a": 1})
    assert asked(invoked_by_id, app_id="shop") == asked(invoked)
    assert asked(invoked_by_id, app_id="post")["opts"]["function_id"] == "post-ship"


def test_data_of_an_invocation_may_have_a_type() -> None:
    payload = asked(invoked, data=Payment(7, 5))["opts"]["payload"]

    assert payload == {"data": {"order_id": 7, "cents": 5}}


@pytest.mark.parametrize("asking", [invoked, invoked_by_id])
def test_invocation_gives_the_result(asking: Any) -> None:
    assert result_of(given(asking, {"data": {"a": [1]}})) == {"a": [1]}
    assert result_of(given(asking, {"data": None})) is None


@pytest.mark.parametrize("asking", [invoked, invoked_by_id])
def test_invocation_gives_the_result_in_its_type(asking: Callable[..., Any]) -> None:
    seen: list[Any] = []

    def handler(ctx: ContextSync) -> None:
        seen.append(asking(ctx, output_type=Payment))

    async def handler_async(ctx: Context) -> None:
        seen.append(await asking(ctx, output_type=Payment))

    steps = memos(call={"data": {"order_id": 7}})
    call_sync(handler, steps)
    call_async(handler_async, steps)
    assert seen == [Payment(7)] * 2
    error = error_of(given(asking, {"data": 5}, output_type=Payment))
    assert error["code"] == "output_invalid"


@pytest.mark.parametrize("what", ["data", "user"])
@pytest.mark.parametrize("value", [5, "text", [1], True])
def test_invocation_needs_an_object(what: str, value: Any) -> None:
    message = mistaken(invoked, **{what: value})

    assert message.startswith(f"the {what} of an invoked function is an object")


def test_data_of_an_invocation_must_have_a_json_form() -> None:
    outcome = call_both(lambda ctx: invoked(ctx, data={"x": object()}))

    assert error_of(outcome)["code"] == "output_unserializable"
    assert outcome.no_retry


@pytest.mark.parametrize("function", [None, "ship", lambda ctx: 1])
def test_invocation_needs_a_declared_function(function: Any) -> None:
    message = mistaken(lambda ctx: ctx.step.invoke("call", function=function))

    assert "a declared function is needed here" in message


@pytest.mark.parametrize(
    "ids", [{"function_id": ""}, {"function_id": None}, {"app_id": ""}, {"app_id": 5}]
)
def test_invocation_by_id_needs_ids(ids: dict[str, Any]) -> None:
    message = mistaken(lambda ctx: ctx.step.invoke_by_id("call", **{"function_id": "f", **ids}))

    assert message.startswith("invoke_by_id needs the id of")


def test_version_of_an_invocation_is_a_text() -> None:
    assert "v is a version as a text" in mistaken(invoked, v=2)


# --- fetch ---


def test_fetch_says_what_to_ask() -> None:
    assert asked(fetched)["opts"] == {"url": "https://example.com/a", "method": "GET"}
    op = asked(fetched, method="post", headers={"A": "b"}, body=b'{"x":1}')
    assert op["opts"] == {
        "url": "https://example.com/a",
        "method": "POST",
        "headers": {"A": "b"},
        "body": '{"x":1}',
    }


def test_fetch_gives_the_answer() -> None:
    seen: list[FetchResponse] = []

    async def handler(ctx: Context) -> None:
        seen.append(await ctx.step.fetch("get", "https://example.com"))

    def handler_sync(ctx: ContextSync) -> None:
        seen.append(ctx.step.fetch("get", "https://example.com"))

    answer = {"url": "u", "status_code": 201, "headers": {"a": "b"}, "body": '{"x":1}'}
    call_async(handler, memos(get={"data": answer}))
    call_sync(handler_sync, memos(get={"data": answer}))
    [response, twin] = seen
    assert response == twin
    assert (response.status_code, response.url) == (201, "u")
    assert response.headers == {"a": "b"}
    assert response.json() == {"x": 1}


@pytest.mark.parametrize(
    ("status", "ok"), [(199, False), (200, True), (299, True), (300, False), (500, False)]
)
def test_status_of_an_answer_says_whether_it_is_good(status: int, ok: bool) -> None:
    assert FetchResponse(status_code=status).ok is ok


def test_answer_that_is_no_json_says_so() -> None:
    with pytest.raises(ValueError, match="JSON"):
        FetchResponse(status_code=200, body="<p>").json()


@pytest.mark.parametrize("memo", [None, 5, [], {"data": {}}, {"data": {"status_code": "200"}}])
def test_memo_that_is_no_answer_is_told(memo: Any) -> None:
    error = error_of(given(fetched, memo))

    assert error["code"] == "output_invalid"
    assert error["message"].startswith("the stored value is not a FetchResponse")


@pytest.mark.parametrize("url", [None, "", "example.com", "ftp://example.com", 5])
def test_fetch_needs_a_url(url: Any) -> None:
    assert "fetch needs a URL" in mistaken(fetched, url)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"method": None}, "the method of a fetch"),
        ({"method": ""}, "the method of a fetch"),
        ({"headers": {"A": 1}}, "the headers of a fetch"),
        ({"headers": [("A", "b")]}, "the headers of a fetch"),
        ({"headers": "A: b"}, "the headers of a fetch"),
        ({"body": {"x": 1}}, "write JSON with json.dumps"),
        ({"body": b"\xff"}, "text in UTF-8"),
    ],
)
def test_fetch_of_a_wrong_type_is_a_mistake(options: dict[str, Any], what: str) -> None:
    assert what in mistaken(fetched, **options)


# --- in groups ---


def every_kind(ctx: Any, *, mode: Any = "wait") -> Any:
    branches = [
        lambda: ctx.step.run("run", lambda: 1),
        *(lambda asking=asking: asking(ctx) for asking, _ in ASKED.values()),
        lambda: ctx.step.send_signal("tell", signal="s"),
        lambda: ctx.step.sleep("nap", 1),
    ]
    return ctx.group.parallel(branches, parallel_mode=mode)


PLANNED = [
    ("StepPlanned", "run"),
    ("WaitForEvent", "paid"),
    ("WaitForSignal", "go"),
    ("InvokeFunction", "call"),
    ("Gateway", "get"),
    ("StepPlanned", "tell"),
    ("Sleep", "nap"),
]


def test_steps_of_every_kind_begin_together() -> None:
    sent = Sent()

    assert named(call_both(every_kind, sent=sent)) == PLANNED
    assert sent.signals == []


def test_steps_of_every_kind_say_that_they_race() -> None:
    for op in ops_of(call_both(lambda ctx: every_kind(ctx, mode="race"))):
        assert op["opts"]["parallelMode"] == "race"
    for op in ops_of(call_both(every_kind)):
        assert "parallelMode" not in (op["opts"] or {})


@pytest.mark.parametrize(("op", "step_id"), [(op, step_id) for op, step_id in PLANNED])
def test_each_of_them_is_what_its_call_reports(op: str, step_id: str) -> None:
    ran = "StepRun" if op == "StepPlanned" else op

    assert named(call_both(every_kind, target=step_id, plan_only=True)) == [(ran, step_id)]


def test_only_new_wait_of_a_group_is_reported_by_itself() -> None:
    done = memos(run={"data": 1}, go=None, call={"data": 1}, tell={"data": True}, nap=None)
    done |= memos(get={"data": {"status_code": 200}})

    assert named(call_both(every_kind, done)) == [("WaitForEvent", "paid")]


def test_results_of_every_kind_come_in_order() -> None:
    async def handler(ctx: Context) -> list[Any]:
        one, event, signal, answer, response, taken, slept = await every_kind(ctx)
        assert isinstance(signal, Signal)
        assert isinstance(response, FetchResponse)
        return [one, event.name, signal.data, answer, response.status_code, taken, slept]

    done = memos(
        run={"data": 1},
        paid={"name": "order/paid", "data": {}},
        go={"data": {"signal": "s", "data": 3}},
        call={"data": 4},
        get={"data": {"status_code": 205}},
        tell={"data": True},
        nap=None,
    )
    assert result_of(call_async(handler, done)) == [1, "order/paid", 3, 4, 205, True, None]


def test_mistake_in_a_branch_is_the_function_s_error() -> None:
    outcome = call_both(
        lambda ctx: ctx.group.parallel((lambda: waited(ctx, timeout="1h"), lambda: fetched(ctx))),
        memos(get={"data": {"status_code": 200}}),
    )

    assert error_of(outcome)["message"].startswith("a timeout takes whole milliseconds")


def test_what_is_reported_can_be_read_by_any_peer() -> None:
    body = call_both(every_kind).body

    ops = msgspec.json.decode(body, type=list[dict[str, Any]])
    assert {len(op["id"]) for op in ops} == {40}
    assert cast("Any", ops[0]["userland"]) == {"id": "run"}
