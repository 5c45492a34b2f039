"""The worker of `stepwell demo`: one durable function, in a process of its own.

It ends when its standard input does, which is when the demo's own process is gone, however that
came to be.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import timedelta
from typing import Any

import stepwell
from stepwell.cli.demo_story import APP, EVENT, FUNCTION
from stepwell.connect import connect

client = stepwell.Client(app_id=APP)


@client.create_function(
    fn_id=FUNCTION,
    trigger=stepwell.TriggerEvent(event=EVENT),
    retries=2,
)
async def place_order(ctx: stepwell.Context) -> dict[str, Any]:
    """Reserve, check, wait a moment, charge (which fails once), confirm."""
    order = ctx.event.data

    async def price() -> int:
        return sum(line["quantity"] * line["cents"] for line in order["lines"])

    async def reserve() -> str:
        return f"reservation-{order['number']}"

    async def check_address() -> bool:
        return bool(order["city"])

    async def charge() -> str:
        if ctx.attempt == 0:
            raise ConnectionError("the payment service did not answer")
        return f"payment-{order['number']}"

    async def confirm() -> str:
        return f"confirmed order {order['number']}"

    cents = await ctx.step.run("price-order", price)
    reservation, _ = await ctx.group.parallel(
        (
            lambda: ctx.step.run("reserve-stock", reserve),
            lambda: ctx.step.run("check-address", check_address),
        )
    )
    await ctx.step.sleep("time-to-cancel", timedelta(seconds=1))
    payment = await ctx.step.run("charge-card", charge)
    await ctx.step.run("send-confirmation", confirm)
    return {"cents": cents, "reservation": reservation, "payment": payment}


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connect(apps=[(client, [place_order])], instance_id="demo-worker").run()
