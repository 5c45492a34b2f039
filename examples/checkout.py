"""Functions that run other functions: by object, by id, and when they are over themselves.

With a server (`stepwell dev`), in two more terminals:

    python examples/checkout.py
    stepwell send basket.ready '{"items": ["tea", "pot"]}'
"""

from dataclasses import dataclass
from datetime import timedelta

import stepwell
from stepwell.connect import connect

shop = stepwell.Client(app_id="store")
warehouse = stepwell.Client(app_id="warehouse")


@dataclass
class Basket:
    items: list[str]


@dataclass
class Price:
    cents: int


basket_ready = stepwell.EventType("basket.ready", Basket)
price_wanted = stepwell.EventType("price.wanted", Basket)


@shop.function("price", event=price_wanted)
async def price(ctx: stepwell.Context[Basket]) -> Price:
    return Price(cents=250 * len(ctx.event.data.items))


@shop.create_function(fn_id="survey", trigger=stepwell.TriggerDeferred())
async def survey(ctx: stepwell.Context) -> str:
    return f"asked about {ctx.event.data['items']} items"


@shop.function("checkout", event=basket_ready)
async def checkout(ctx: stepwell.Context[Basket]) -> str:
    basket = ctx.event.data
    ctx.step.defer("survey", survey, {"items": len(basket.items)})
    cost = await ctx.step.invoke("price", function=price, data=basket, output_type=Price)
    try:
        parcel = await ctx.step.invoke_by_id(
            "pack",
            app_id="warehouse",
            function_id="pack",
            data=basket,
            timeout=timedelta(hours=1),
        )
    except stepwell.StepError as error:
        return f"not packed: {error.name}"
    return f"{parcel} for {cost.cents} cents"


@warehouse.function("pack", event="basket.ready.to.pack")
def pack(ctx: stepwell.ContextSync) -> str:
    return " and ".join(ctx.event.data["items"])


if __name__ == "__main__":
    connect(apps=[(shop, [price, survey, checkout]), (warehouse, [pack])]).run()
