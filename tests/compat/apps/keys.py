import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(fn_id="first", trigger=inngest.TriggerEvent(event=f"{stage.APP}/first"))
async def first(ctx: inngest.Context) -> list[str]:
    event = inngest.Event(name=f"{stage.APP}/second", data={})
    return await ctx.step.send_event("send", event)


@client.create_function(fn_id="second", trigger=inngest.TriggerEvent(event=f"{stage.APP}/second"))
async def second(ctx: inngest.Context) -> str:
    return "signed"


asyncio.run(connect(apps=[(client, [first, second])], instance_id=stage.INSTANCE).start())
