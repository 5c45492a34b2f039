# pyright: strict
"""The types that users get for events, waits, invocations and groups, of whatever kind of type.

The bodies are checked and not run; see `test_types.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict, assert_type

import msgspec
import pydantic

import stepwell
from stepwell import ai

client = stepwell.Client(app_id="shop", is_production=False)


class Order(pydantic.BaseModel):
    total: int


class Receipt(msgspec.Struct):
    number: str


@dataclass
class Refund:
    reason: str


class Note(TypedDict):
    text: str


class Reply(pydantic.BaseModel):
    text: str


order_paid = stepwell.EventType("order/paid", Order)
receipt_sent = stepwell.EventType("receipt/sent", Receipt)
order_refunded = stepwell.EventType("order/refunded", Refund)
note_taken = stepwell.EventType("note/taken", Note)


async def make_receipt(order: Order) -> Receipt:
    return Receipt(number=str(order.total))


def make_receipt_sync(order: Order) -> Receipt:
    return Receipt(number=str(order.total))


async def ask(prompt: str) -> Reply:
    return Reply(text=prompt)


# --- functions of events with a type ---


@client.function("ship", event=order_paid)
async def ship(ctx: stepwell.Context[Order]) -> Receipt:
    assert_type(ctx.event, stepwell.Event[Order])
    assert_type(ctx.event.data, Order)
    assert_type(ctx.event.data.total, int)
    assert_type(ctx.events, list[stepwell.Event[Order]])
    receipt = await ctx.step.run("receipt", make_receipt, ctx.event.data, output_type=Receipt)
    assert_type(receipt, Receipt)
    return receipt


@client.function("note", event=note_taken, cron="0 3 * * *")
def note(ctx: stepwell.ContextSync[Note]) -> str:
    assert_type(ctx.event.data, Note)
    assert_type(ctx.event.data["text"], str)
    return ctx.event.data["text"]


@client.function("log", event=[order_paid, order_refunded, "order/lost"])
async def log(ctx: stepwell.Context) -> None:
    assert_type(ctx.event.data, dict[str, Any])


@client.create_function(
    fn_id="refund",
    trigger=[
        stepwell.TriggerEvent(order_refunded, "event.data.reason != ''"),
        stepwell.TriggerCron("0 3 * * *", jitter=timedelta(seconds=30)),
        stepwell.TriggerDeferred(),
    ],
    cancel=[stepwell.Cancel(order_paid, if_exp="event.data.id == async.data.id", timeout=1_000)],
    timeouts=stepwell.Timeouts(start=1_000, finish=timedelta(hours=1)),
)
def refund(ctx: stepwell.ContextSync[Refund]) -> Refund:
    return ctx.event.data


assert_type(ship, stepwell.Function[Receipt])
assert_type(note, stepwell.Function[str])
assert_type(log, stepwell.Function[None])
assert_type(refund, stepwell.Function[Refund])


# --- steps ---


@client.function("async", event="e")
async def async_function(ctx: stepwell.Context) -> None:
    step = ctx.step
    paid = await step.wait_for_event("a", event=order_paid, timeout=timedelta(hours=1))
    assert_type(paid, stepwell.Event[Order] | None)
    refunded = await step.wait_for_event("b", event=order_refunded, if_exp="x", timeout=1)
    assert_type(refunded, stepwell.Event[Refund] | None)
    lost = await step.wait_for_event("c", event="order/lost", timeout=1)
    assert_type(lost, stepwell.Event | None)
    signal = await step.wait_for_signal("d", signal="s", on_conflict="replace")
    assert_type(signal, stepwell.Signal | None)
    assert_type(await step.send_signal("e", signal="s", data={"any": 1}), bool)
    assert_type(await step.send_event("f", order_paid.create(Order(total=1))), list[str])
    assert_type(
        await step.send_event(
            "g", [receipt_sent.create(Receipt(number="1")), stepwell.Event(name="g")]
        ),
        list[str],
    )

    assert_type(await step.invoke("h", function=ship, data=Order(total=1)), Receipt)
    assert_type(await step.invoke("i", function=note, timeout=1, user={"id": 1}), str)
    assert_type(await step.invoke("j", function=ship, output_type=Order), Order)
    assert_type(await step.invoke_by_id("k", function_id="x", app_id="y"), Any)
    assert_type(await step.invoke_by_id("l", function_id="x", output_type=Refund), Refund)

    response = await step.fetch("m", "https://example.com", method="POST", body="{}")
    assert_type(response, stepwell.FetchResponse)
    assert_type(response.ok, bool)
    assert_type(step.defer("n", refund, {"reason": "late"}).abort(), None)
    gpt = ai.openai("gpt-4o-mini", auth_key="key")
    assert_type(await step.ai.infer("o", adapter=gpt, body={"messages": []}), dict[str, Any])
    assert_type(await step.ai.wrap("p", ask, "hello"), Reply)
    assert_type(await step.ai.wrap("q", ask, "hello", output_type=Note), Note)
    assert_type(await step.run("r", make_receipt, Order(total=1), output_type=Note), Note)
    assert_type(await step.run("s", make_receipt, Order(total=1), output_type=Refund), Refund)

    first = await ctx.group.race(
        (
            lambda: step.wait_for_event("t", event=order_paid, timeout=1),
            lambda: step.invoke("u", function=ship),
        )
    )
    assert_type(first, stepwell.Event[Order] | Receipt | None)
    third = await ctx.group.race(
        (
            lambda: step.sleep("v", 1),
            lambda: step.fetch("w", "https://example.com"),
            lambda: step.run("x", ask, "hello"),
        )
    )
    assert_type(third, stepwell.FetchResponse | Reply | None)
    alike = await ctx.group.race([lambda: step.run("y", ask, "1"), lambda: step.run("z", ask, "2")])
    assert_type(alike, Reply)
    four = await ctx.group.parallel(
        (
            lambda: step.wait_for_event("t", event=order_paid, timeout=1),
            lambda: step.wait_for_signal("1", signal="s"),
            lambda: step.fetch("2", "https://example.com"),
            lambda: step.invoke("3", function=note),
        ),
        parallel_mode="race",
    )
    assert_type(
        four,
        tuple[stepwell.Event[Order] | None, stepwell.Signal | None, stepwell.FetchResponse, str],
    )


@client.function("sync", event="e")
def sync_function(ctx: stepwell.ContextSync) -> None:
    step = ctx.step
    paid = step.wait_for_event("a", event=order_paid, timeout=timedelta(hours=1))
    assert_type(paid, stepwell.Event[Order] | None)
    lost = step.wait_for_event("c", event="order/lost", timeout=1)
    assert_type(lost, stepwell.Event | None)
    assert_type(step.wait_for_signal("d", signal="s"), stepwell.Signal | None)
    assert_type(step.send_signal("e", signal="s"), bool)
    assert_type(step.send_event("f", order_paid.create(Order(total=1))), list[str])
    assert_type(step.invoke("h", function=ship, data=Order(total=1)), Receipt)
    assert_type(step.invoke("j", function=ship, output_type=Order), Order)
    assert_type(step.invoke_by_id("k", function_id="x"), Any)
    assert_type(step.invoke_by_id("l", function_id="x", output_type=Refund), Refund)
    assert_type(step.fetch("m", "https://example.com"), stepwell.FetchResponse)
    assert_type(step.defer("n", refund).abort(), None)
    claude = ai.anthropic("claude", auth_key="key", max_tokens=100)
    assert_type(step.ai.infer("o", adapter=claude, body={}), dict[str, Any])
    assert_type(step.ai.wrap("p", make_receipt_sync, Order(total=1)), Receipt)
    assert_type(step.run("r", make_receipt_sync, Order(total=1), output_type=Note), Note)

    first = ctx.group.race(
        (
            lambda: step.wait_for_event("t", event=order_paid, timeout=1),
            lambda: step.invoke("u", function=ship),
        )
    )
    assert_type(first, stepwell.Event[Order] | Receipt | None)
    two = ctx.group.parallel(
        (
            lambda: step.wait_for_signal("v", signal="s"),
            lambda: step.fetch("w", "https://example.com"),
        ),
        parallel_mode="race",
    )
    assert_type(two, tuple[stepwell.Signal | None, stepwell.FetchResponse])


async def program() -> None:
    assert_type(order_paid.create(Order(total=1)), stepwell.Event[Order])
    assert_type(await client.send(order_paid.create(Order(total=1))), list[str])
    assert_type(client.send_sync([note_taken.create({"text": "a"})]), list[str])
    assert_type(await client.signal("s", {"any": 1}), bool)
    assert_type(client.signal_sync("s"), bool)
