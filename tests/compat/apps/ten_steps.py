import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(fn_id="count", trigger=inngest.TriggerEvent(event=f"{stage.APP}/start"))
async def count(ctx: inngest.Context) -> int:
    async def add(total: int, number: int) -> int:
        stage.ran("add", number=number)
        return total + number

    total = 0
    for number in range(1, 11):
        total = await ctx.step.run(f"add-{number}", add, total, number)
    return total


@client.create_function(fn_id="repeat", trigger=inngest.TriggerEvent(event=f"{stage.APP}/repeat"))
async def repeat(ctx: inngest.Context) -> list[int]:
    async def take(number: int) -> int:
        return number

    return [await ctx.step.run("take", take, number) for number in range(3)]


asyncio.run(connect(apps=[(client, [count, repeat])], instance_id=stage.INSTANCE).start())
