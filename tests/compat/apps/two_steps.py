import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(fn_id="ship", trigger=inngest.TriggerEvent(event=f"{stage.APP}/order"))
async def ship(ctx: inngest.Context) -> str:
    async def pack() -> str:
        stage.ran("pack", run=ctx.run_id)
        await stage.gate("pack")
        return "packed"

    async def send(text: str) -> str:
        stage.ran("send", run=ctx.run_id)
        return f"{text} and sent"

    return await ctx.step.run("send", send, await ctx.step.run("pack", pack))


asyncio.run(connect(apps=[(client, [ship])], instance_id=stage.INSTANCE).start())
