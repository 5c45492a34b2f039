import asyncio
import datetime

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(
    fn_id="hopeless", trigger=inngest.TriggerEvent(event=f"{stage.APP}/hopeless")
)
async def hopeless(ctx: inngest.Context) -> None:
    stage.ran("hopeless")
    raise inngest.NonRetriableError("there is no point")


@client.create_function(
    fn_id="hopeless-step", trigger=inngest.TriggerEvent(event=f"{stage.APP}/hopeless-step")
)
async def hopeless_step(ctx: inngest.Context) -> None:
    async def refuse() -> None:
        stage.ran("refuse")
        raise inngest.NonRetriableError("not even once more")

    await ctx.step.run("refuse", refuse)


@client.create_function(
    fn_id="later", trigger=inngest.TriggerEvent(event=f"{stage.APP}/later"), retries=1
)
async def later(ctx: inngest.Context) -> int:
    async def call() -> int:
        stage.ran("call", attempt=ctx.attempt)
        if ctx.attempt == 0:
            raise inngest.RetryAfterError("busy", datetime.timedelta(seconds=2))
        return ctx.attempt

    return await ctx.step.run("call", call)


@client.create_function(
    fn_id="caught", trigger=inngest.TriggerEvent(event=f"{stage.APP}/caught"), retries=1
)
async def caught(ctx: inngest.Context) -> dict[str, str]:
    async def divide() -> float:
        stage.ran("divide", attempt=ctx.attempt)
        raise ZeroDivisionError("by zero")

    async def recover(name: str) -> str:
        return f"recovered from {name}"

    try:
        await ctx.step.run("divide", divide)
    except inngest.StepError as error:
        text = await ctx.step.run("recover", recover, error.name)
        return {"message": error.message, "name": error.name, "text": text}
    return {}


@client.create_function(
    fn_id="uncaught", trigger=inngest.TriggerEvent(event=f"{stage.APP}/uncaught"), retries=0
)
async def uncaught(ctx: inngest.Context) -> None:
    async def divide() -> float:
        raise ZeroDivisionError("by zero")

    await ctx.step.run("divide", divide)


functions = [hopeless, hopeless_step, later, caught, uncaught]
asyncio.run(connect(apps=[(client, functions)], instance_id=stage.INSTANCE).start())
