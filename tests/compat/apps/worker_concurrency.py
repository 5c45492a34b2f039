import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)
at_work = 0


@client.create_function(fn_id="task", trigger=inngest.TriggerEvent(event=f"{stage.APP}/task"))
async def task(ctx: inngest.Context) -> int:
    async def work() -> int:
        global at_work
        at_work += 1
        stage.ran("work", at_work=at_work)
        await stage.gate("work")
        at_work -= 1
        return int(ctx.event.data["number"])

    return await ctx.step.run("work", work)


connection = connect(apps=[(client, [task])], instance_id=stage.INSTANCE, max_worker_concurrency=2)
asyncio.run(connection.start())
