"""Parallel steps, retries, a step that fails for good, and a function for failed runs.

    python examples/order.py
    stepwell send order.placed '{"order_id": 1, "items": ["tea", "pot"]}'
    stepwell send order.placed '{"order_id": 2, "items": []}'

The first order completes; its payment fails once and is tried again. The second one fails, and
`order_failed` runs.
"""

from functools import partial

import stepwell
from stepwell.connect import connect

client = stepwell.Client(app_id="shop")


async def reserve(item: str) -> str:
    return f"{item} reserved"


async def check_stock(items: list[str]) -> int:
    if not items:
        # No retry can help here.
        raise stepwell.NonRetriableError("an order needs at least one item")
    return len(items)


async def pay(order_id: int, attempt: int) -> str:
    if attempt == 0:
        # Tried again in two seconds; without this, the server's schedule decides.
        raise stepwell.RetryAfterError("the bank is busy", retry_after=2_000)
    return f"payment-{order_id}"


async def order_failed(ctx: stepwell.Context) -> str:
    """Runs once for each order whose run has failed for good."""
    order = ctx.event.data["event"]["data"]

    async def report() -> str:
        return f"order {order['order_id']} needs a human"

    return await ctx.step.run("report", report)


@client.create_function(
    fn_id="place-order",
    trigger=stepwell.TriggerEvent(event="order.placed"),
    retries=2,
    on_failure=order_failed,
)
async def place_order(ctx: stepwell.Context) -> dict[str, object]:
    order_id, items = ctx.event.data["order_id"], ctx.event.data["items"]
    await ctx.step.run("check-stock", check_stock, items)
    reserved = await ctx.group.parallel(
        tuple(partial(ctx.step.run, f"reserve-{item}", reserve, item) for item in items)
    )
    try:
        payment = await ctx.step.run("pay", pay, order_id, ctx.attempt)
    except stepwell.StepError:
        payment = "on account"  # all attempts failed: the function may go on without the step
    await ctx.step.send_event(
        "tell-others", stepwell.Event(name="order.paid", data={"order_id": order_id})
    )
    return {"reserved": list(reserved), "payment": payment}


if __name__ == "__main__":
    connect(apps=[(client, [place_order])]).run()
