import asyncio
import datetime

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


async def now() -> float:
    return datetime.datetime.now(datetime.UTC).timestamp()


@client.create_function(fn_id="nap", trigger=inngest.TriggerEvent(event=f"{stage.APP}/nap"))
async def nap(ctx: inngest.Context) -> list[float]:
    before = await ctx.step.run("before", now)
    await ctx.step.sleep("nap", datetime.timedelta(seconds=1))
    return [before, await ctx.step.run("after", now)]


@client.create_function(fn_id="wake", trigger=inngest.TriggerEvent(event=f"{stage.APP}/wake"))
async def wake(ctx: inngest.Context) -> float:
    until = datetime.datetime.fromtimestamp(float(ctx.event.data["until"]), datetime.UTC)
    await ctx.step.sleep_until("until", until)
    return await ctx.step.run("after", now)


asyncio.run(connect(apps=[(client, [nap, wake])], instance_id=stage.INSTANCE).start())
