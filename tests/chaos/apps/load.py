"""What the soak runs: each body notes its begin and its end, and has a result of its own."""

import asyncio
import datetime
import random
import uuid

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)
BODY_S_MAX = 0.2
RETRIES = 20  # A call that loses its worker three times in a row has used up an attempt.


def event(name: str) -> inngest.TriggerEvent:
    return inngest.TriggerEvent(event=f"{stage.APP}/{name}")


async def body(ctx: inngest.Context, step: str, fails: bool = False) -> str:
    result = uuid.uuid4().hex
    stage.ran("begin", run=ctx.run_id, step=step, result=result)
    try:
        await asyncio.sleep(random.uniform(0, BODY_S_MAX))
        if fails:
            raise ValueError(f"{step} fails")
        return result
    finally:
        stage.ran("end", result=result)


def done(ctx: inngest.Context) -> None:
    stage.ran("done", key=ctx.event.id)


@client.create_function(fn_id="chain", trigger=event("chain"), retries=RETRIES)
async def chain(ctx: inngest.Context) -> list[str]:
    results = [await ctx.step.run(f"step-{n}", body, ctx, f"step-{n}") for n in range(5)]
    done(ctx)
    return results


@client.create_function(fn_id="fan", trigger=event("fan"), retries=RETRIES)
async def fan(ctx: inngest.Context) -> list[str]:
    branches = tuple(
        lambda n=n: ctx.step.run(f"branch-{n}", body, ctx, f"branch-{n}") for n in range(4)
    )
    results = list(await ctx.group.parallel(branches))
    results.append(await ctx.step.run("join", body, ctx, "join"))
    done(ctx)
    return results


@client.create_function(fn_id="nap", trigger=event("nap"), retries=RETRIES)
async def nap(ctx: inngest.Context) -> list[str]:
    before = await ctx.step.run("before", body, ctx, "before")
    await ctx.step.sleep("nap", datetime.timedelta(seconds=1))
    after = await ctx.step.run("after", body, ctx, "after")
    done(ctx)
    return [before, after]


@client.create_function(fn_id="flaky", trigger=event("flaky"), retries=RETRIES)
async def flaky(ctx: inngest.Context) -> list[str]:
    result = await ctx.step.run("once-more", body, ctx, "once-more", ctx.attempt == 0)
    done(ctx)
    return [result]


async def apologise(ctx: inngest.Context) -> str:
    return await ctx.step.run("apologise", body, ctx, "apologise")


@client.create_function(fn_id="doomed", trigger=event("doomed"), retries=1, on_failure=apologise)
async def doomed(ctx: inngest.Context) -> None:
    done(ctx)
    await ctx.step.run("in-vain", body, ctx, "in-vain", True)


functions = [chain, fan, nap, flaky, doomed]
asyncio.run(connect(apps=[(client, functions)], instance_id=stage.INSTANCE).start())
