import asyncio

import inngest
import stage
from inngest.connect import connect

shop = inngest.Inngest(app_id=f"{stage.APP}-shop")
bank = inngest.Inngest(app_id=f"{stage.APP}-bank")


@shop.create_function(fn_id="handle", trigger=inngest.TriggerEvent(event=f"{stage.APP}/both"))
async def handle_in_shop(ctx: inngest.Context) -> str:
    return "shop"


@bank.create_function(fn_id="handle", trigger=inngest.TriggerEvent(event=f"{stage.APP}/both"))
async def handle_in_bank(ctx: inngest.Context) -> str:
    return "bank"


@bank.create_function(fn_id="only", trigger=inngest.TriggerEvent(event=f"{stage.APP}/bank"))
async def only(ctx: inngest.Context) -> str:
    return "only the bank"


apps = [(shop, [handle_in_shop]), (bank, [handle_in_bank, only])]
asyncio.run(connect(apps=apps, instance_id=stage.INSTANCE).start())
