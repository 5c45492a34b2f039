import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(fn_id="task", trigger=inngest.TriggerEvent(event=f"{stage.APP}/task"))
async def task(ctx: inngest.Context) -> int:
    async def first() -> int:
        stage.ran("first", number=ctx.event.data["number"])
        return int(ctx.event.data["number"])

    async def second(number: int) -> int:
        stage.ran("second", number=ctx.event.data["number"])
        return -number

    return await ctx.step.run("second", second, await ctx.step.run("first", first))


asyncio.run(connect(apps=[(client, [task])], instance_id=stage.INSTANCE).start())
