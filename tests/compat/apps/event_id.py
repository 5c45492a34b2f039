import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(fn_id="once", trigger=inngest.TriggerEvent(event=f"{stage.APP}/paid"))
async def once(ctx: inngest.Context) -> str:
    stage.ran("once", id=ctx.event.id)
    return ctx.event.id


@client.create_function(fn_id="send", trigger=inngest.TriggerEvent(event=f"{stage.APP}/send"))
async def send(ctx: inngest.Context) -> list[str]:
    event = inngest.Event(name=f"{stage.APP}/paid", id="order-9", data={})
    return [*await ctx.step.send_event("a", event), *await ctx.step.send_event("b", event)]


asyncio.run(connect(apps=[(client, [once, send])], instance_id=stage.INSTANCE).start())
