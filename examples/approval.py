"""Runs that wait: for an event with typed data, for a signal, and for whatever comes first.

With a server (`stepwell dev`), in two more terminals:

    python examples/approval.py
    stepwell send order.placed '{"order_id": 1}'
    stepwell send order.approved '{"order_id": 1, "by": "ann"}'

    stepwell send label.wanted '{"label_id": 7}'
    stepwell send label.printed '{"label_id": 7, "pages": 2}'

    stepwell send offer.wanted '{"item": "tea"}'
"""

from dataclasses import dataclass
from datetime import timedelta

import stepwell
from stepwell.connect import connect

client = stepwell.Client(app_id="approvals")


@dataclass
class Placed:
    order_id: int


@dataclass
class Approved:
    order_id: int
    by: str


order_placed = stepwell.EventType("order.placed", Placed)
order_approved = stepwell.EventType("order.approved", Approved)


@client.function("approve-order", event=order_placed)
async def approve_order(ctx: stepwell.Context[Placed]) -> str:
    approved = await ctx.step.wait_for_event(
        "approval",
        event=order_approved,
        if_exp="event.data.order_id == async.data.order_id",
        timeout=timedelta(days=2),
    )
    if approved is None:
        return "nobody approved it in time"
    return f"approved by {approved.data.by}"


@client.function("print-label", event="label.wanted")
async def print_label(ctx: stepwell.Context) -> str:
    printed = await ctx.step.wait_for_signal(
        "printed",
        signal=f"label-{ctx.event.data['label_id']}",
        timeout=timedelta(minutes=10),
    )
    return "no label" if printed is None else f"{printed.data['pages']} pages"


@client.function("tell-printed", event="label.printed")
async def tell_printed(ctx: stepwell.Context) -> bool:
    label = ctx.event.data
    return await ctx.step.send_signal(
        "tell", signal=f"label-{label['label_id']}", data={"pages": label["pages"]}
    )


async def ask_shop(item: str) -> str:
    return f"{item} for 250 cents"


async def mail(text: str) -> str:
    return f"mailed: {text}"


@client.function("get-offer", event="offer.wanted")
async def get_offer(ctx: stepwell.Context) -> str:
    offer = await ctx.group.race(
        (
            lambda: ctx.step.run("ask", ask_shop, ctx.event.data["item"]),
            lambda: ctx.step.sleep("deadline", timedelta(days=1)),
        )
    )
    return await ctx.step.run("mail", mail, offer or "no offer")


if __name__ == "__main__":
    connect(apps=[(client, [approve_order, print_label, tell_printed, get_offer])]).run()
