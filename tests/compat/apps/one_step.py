import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(
    fn_id="greet", trigger=inngest.TriggerEvent(event=f"{stage.APP}/user.created")
)
async def greet(ctx: inngest.Context) -> dict[str, object]:
    async def compose() -> dict[str, object]:
        stage.ran("compose", run=ctx.run_id)
        return {"text": f"Hello, {ctx.event.data['name']}"}

    message = await ctx.step.run("compose", compose)
    return {"sent": message, "run": ctx.run_id, "attempt": ctx.attempt}


asyncio.run(connect(apps=[(client, [greet])], instance_id=stage.INSTANCE).start())
