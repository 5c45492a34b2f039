import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(
    fn_id="flaky-step", trigger=inngest.TriggerEvent(event=f"{stage.APP}/step"), retries=3
)
async def flaky_step(ctx: inngest.Context) -> dict[str, object]:
    async def first() -> str:
        stage.ran("first")
        return "kept"

    async def charge() -> int:
        stage.ran("charge", attempt=ctx.attempt)
        if ctx.attempt < 2:
            raise ValueError(f"declined {ctx.attempt}")
        return ctx.attempt

    return {
        "first": await ctx.step.run("first", first),
        "charge": await ctx.step.run("charge", charge),
    }


@client.create_function(
    fn_id="flaky-function", trigger=inngest.TriggerEvent(event=f"{stage.APP}/function"), retries=1
)
async def flaky_function(ctx: inngest.Context) -> int:
    if ctx.attempt == 0:
        raise ValueError("not yet")
    return ctx.attempt


asyncio.run(
    connect(apps=[(client, [flaky_step, flaky_function])], instance_id=stage.INSTANCE).start()
)
