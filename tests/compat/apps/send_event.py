import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(fn_id="order", trigger=inngest.TriggerEvent(event=f"{stage.APP}/order"))
async def order(ctx: inngest.Context) -> list[str]:
    return await ctx.step.send_event(
        "notify",
        [
            inngest.Event(name=f"{stage.APP}/mail", data={"number": 1}),
            inngest.Event(name=f"{stage.APP}/mail", data={"number": 2}),
        ],
    )


@client.create_function(fn_id="mail", trigger=inngest.TriggerEvent(event=f"{stage.APP}/mail"))
async def mail(ctx: inngest.Context) -> int:
    return int(ctx.event.data["number"])


@client.create_function(fn_id="relay", trigger=inngest.TriggerEvent(event=f"{stage.APP}/relay"))
async def relay(ctx: inngest.Context) -> list[str]:
    async def send() -> list[str]:
        return await client.send(inngest.Event(name=f"{stage.APP}/mail", data={"number": 3}))

    return await ctx.step.run("send", send)


asyncio.run(connect(apps=[(client, [order, mail, relay])], instance_id=stage.INSTANCE).start())
