import asyncio

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


async def apologise(ctx: inngest.Context) -> None:
    async def note() -> None:
        stage.ran(
            "apologise",
            event=ctx.event.name,
            order=ctx.event.data["event"]["data"]["order"],
            run=ctx.event.data["run_id"],
            function=ctx.event.data["function_id"],
            error=ctx.event.data["error"]["message"],
        )

    await ctx.step.run("note", note)


@client.create_function(
    fn_id="settle",
    trigger=inngest.TriggerEvent(event=f"{stage.APP}/order.paid"),
    retries=1,
    on_failure=apologise,
)
async def settle(ctx: inngest.Context) -> None:
    stage.ran("settle", attempt=ctx.attempt)
    raise ValueError("no such card")


asyncio.run(connect(apps=[(client, [settle])], instance_id=stage.INSTANCE).start())
