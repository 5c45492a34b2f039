# pyright: strict
"""The types that users get for what has been there from the start.

The bodies are checked and not run; see `test_types.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, assert_type

import stepwell
from stepwell.connect import ConnectionState, WorkerConnection, connect

client = stepwell.Client(app_id="shop", is_production=False)


@dataclass
class Order:
    total: int


async def load(order_id: int, currency: str = "EUR") -> Order:
    return Order(order_id)


def load_sync(order_id: int) -> Order:
    return Order(order_id)


@client.create_function(fn_id="a", trigger=stepwell.TriggerEvent(event="e"))
async def async_function(ctx: stepwell.Context) -> int:
    assert_type(ctx.event, stepwell.Event)
    assert_type(ctx.event.data, dict[str, Any])
    assert_type(ctx.events, list[stepwell.Event])
    assert_type(ctx.run_id, str)
    assert_type(ctx.attempt, int)

    assert_type(await ctx.step.run("a", load, 1), Order)
    assert_type(await ctx.step.run("a", load, 1, "USD"), Order)
    assert_type(await ctx.step.run("b", load_sync, 1), Order)
    assert_type(await ctx.step.run("c", lambda: 1), int)
    assert_type(await ctx.step.run("d", lambda: {"id": 1}, output_type=Order), Order)
    assert_type(await ctx.step.run("e", load, 1, output_type=list[Order]), list[Order])
    assert_type(await ctx.step.sleep("f", 1_000), None)
    assert_type(await ctx.step.sleep("f", timedelta(hours=1)), None)
    assert_type(await ctx.step.sleep_until("g", datetime.now(UTC)), None)
    assert_type(await ctx.step.send_event("h", stepwell.Event(name="e")), list[str])
    assert_type(await ctx.step.send_event("h", [stepwell.Event(name="e")]), list[str])

    two = await ctx.group.parallel(
        (lambda: ctx.step.run("i", load, 1), lambda: ctx.step.run("j", lambda: "text"))
    )
    assert_type(two, tuple[Order, str])
    three = await ctx.group.parallel(
        (
            lambda: ctx.step.run("i", load, 1),
            lambda: ctx.step.sleep("k", 1),
            lambda: ctx.step.run("j", lambda: 1),
        )
    )
    assert_type(three, tuple[Order, None, int])
    many = await ctx.group.parallel([partial(ctx.step.sleep, f"n{n}", 1) for n in range(9)])
    assert_type(many, tuple[None, ...])
    return 1


@client.function("b", event=["e", "f"], retries=3)
def sync_function(ctx: stepwell.ContextSync) -> str:
    assert_type(ctx.step.run("a", load_sync, 1), Order)
    assert_type(ctx.step.run("b", lambda: {"id": 1}, output_type=Order), Order)
    assert_type(ctx.step.sleep("c", 1_000), None)
    assert_type(ctx.step.send_event("d", stepwell.Event(name="e")), list[str])
    two = ctx.group.parallel((lambda: ctx.step.run("e", load_sync, 1), lambda: "text"))
    assert_type(two, tuple[Order, str])
    return "done"


assert_type(async_function, stepwell.Function[int])
assert_type(sync_function, stepwell.Function[str])


async def program() -> None:
    assert_type(await client.send(stepwell.Event(name="e")), list[str])
    assert_type(client.send_sync([stepwell.Event(name="e")]), list[str])
    connection = connect(apps=[(client, [async_function, sync_function])])
    assert_type(connection, WorkerConnection)
    assert_type(connection.state, ConnectionState)
    assert_type(connection.get_state(), ConnectionState)
    assert_type(connection.get_connection_id(), str)
    assert_type(await connection.start(), None)
    assert_type(await connection.close(wait=True), None)


@client.create_function(
    fn_id="checkpointed",
    trigger=stepwell.TriggerEvent(event="e"),
    checkpointing=stepwell.Checkpointing(buffered_steps=5, max_interval=timedelta(seconds=1)),
)
async def checkpointed(ctx: stepwell.Context) -> int:
    assert_type(await ctx.step.run("a", load, 1, durable=True), Order)
    assert_type(await ctx.step.run("b", load_sync, 1, durable=True), Order)
    assert_type(await ctx.step.run("c", load, 1, output_type=int, durable=True), int)
    assert_type(await ctx.step.ai.wrap("d", load, 1, durable=True), Order)
    return 1


@client.function("checkpointed-sync", event="e", checkpointing="performant")
def checkpointed_sync(ctx: stepwell.ContextSync) -> int:
    assert_type(ctx.step.run("a", load_sync, 1, durable=True), Order)
    assert_type(ctx.step.run("b", load_sync, 1, output_type=int, durable=True), int)
    assert_type(ctx.step.ai.wrap("c", load_sync, 1, durable=True), Order)
    return 1


assert_type(checkpointed.checkpointing, stepwell.Checkpointing | None)
stepwell.Client(app_id="shop", is_production=False, checkpointing=True)
stepwell.Client(app_id="shop", is_production=False, checkpointing="blended")
