"""What the soak runs of calls that go on after a step: each body notes its begin and its end, and
the function notes which steps the server has."""

import asyncio
import random
import uuid

import stage

import stepwell
import stepwell.connect.backoff
from stepwell.connect import connect

stepwell.connect.backoff.STABLE_MS = 500

EVENTS = stage.APP.removesuffix("-eager")
client = stepwell.Client(app_id=stage.APP, checkpointing=True)
BODY_S_MAX = 0.1
RETRIES = 20  # A call that loses its worker three times in a row has used up an attempt.


async def body(ctx, step, fails=False):
    result = uuid.uuid4().hex
    stage.ran("begin", run=ctx.run_id, step=step, result=result)
    try:
        await asyncio.sleep(random.uniform(0, BODY_S_MAX))
        if fails:
            raise ValueError(f"{step} fails")
        return result
    finally:
        stage.ran("end", result=result)


def stored(ctx, *steps):
    """The server has these: their bodies may not begin any more."""
    for step in steps:
        stage.ran("stored", run=ctx.run_id, step=step)


async def run(ctx, step, fails=False):
    """A step that is stored when the function goes on."""
    result = await ctx.step.run(step, body, ctx, step, fails, durable=True)
    stored(ctx, step)
    return result


def done(ctx):
    stage.ran("done", key=ctx.event.id)


@client.function("safe", event=f"{EVENTS}/safe", retries=RETRIES)
async def safe(ctx):
    results = [await run(ctx, f"step-{n}") for n in range(5)]
    done(ctx)
    return results


@client.function("safe-sync", event=f"{EVENTS}/safe-sync", retries=RETRIES)
def safe_sync(ctx):
    def body_sync(step):
        result = uuid.uuid4().hex
        stage.ran("begin", run=ctx.run_id, step=step, result=result)
        stage.ran("end", result=result)
        return result

    def branch(number):
        results = []
        for step in (f"branch-{number}", f"then-{number}"):
            results.append(ctx.step.run(step, body_sync, step))
            stored(ctx, step)
        return results

    pairs = ctx.group.parallel([lambda n=n: branch(n) for n in range(4)])
    done(ctx)
    return [result for pair in pairs for result in pair]


@client.function(
    "buffered", event=f"{EVENTS}/buffered", retries=RETRIES, checkpointing="performant"
)
async def buffered(ctx):
    results = [await ctx.step.run(f"step-{n}", body, ctx, f"step-{n}") for n in range(4)]
    results.append(await run(ctx, "paid"))
    results.append(await ctx.step.run("after", body, ctx, "after"))
    done(ctx)
    return results


@client.function("eager", event=f"{EVENTS}/eager", retries=RETRIES)
async def eager(ctx):
    async def branch(number):
        fails = ctx.attempt == 0 and number in (1, 2)
        return [await run(ctx, f"branch-{number}", fails), await run(ctx, f"then-{number}")]

    pairs = await ctx.group.parallel([lambda n=n: branch(n) for n in range(4)])
    results = [result for pair in pairs for result in pair]
    results.append(await run(ctx, "join"))
    done(ctx)
    return results


@client.function("eager-nap", event=f"{EVENTS}/eager-nap", retries=RETRIES, checkpointing="blended")
async def eager_nap(ctx):
    before = [await ctx.step.run(f"before-{n}", body, ctx, f"before-{n}") for n in range(2)]
    await ctx.step.sleep("nap", 500)
    stored(ctx, "before-0", "before-1")
    after = await ctx.step.run("after", body, ctx, "after")
    done(ctx)
    return [*before, after]


functions = [safe, safe_sync, buffered, eager, eager_nap]
asyncio.run(connect(apps=[(client, functions)], instance_id=stage.INSTANCE).start())
