import asyncio
import datetime
import os
import uuid

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


def event(name: str) -> inngest.TriggerEvent:
    return inngest.TriggerEvent(event=f"{stage.APP}/{name}")


def begun(step: str, ctx: inngest.Context) -> str:
    """Note that a step's body runs, and make the result that this one run of it has."""
    result = uuid.uuid4().hex
    stage.ran(step, run=ctx.run_id, attempt=ctx.attempt, result=result)
    return result


@client.create_function(fn_id="ship", trigger=event("ship"))
async def ship(ctx: inngest.Context) -> dict[str, str]:
    async def pack() -> str:
        result = begun("pack", ctx)
        await stage.gate(str(ctx.event.data["gate"]))
        return result

    async def send() -> str:
        return begun("send", ctx)

    return {"pack": await ctx.step.run("pack", pack), "send": await ctx.step.run("send", send)}


@client.create_function(fn_id="print", trigger=event("print"))
async def print_pages(ctx: inngest.Context) -> dict[str, str]:
    async def pages() -> str:
        result = begun("pages", ctx)
        await stage.gate(str(ctx.event.data["gate"]))
        return result + os.urandom(int(ctx.event.data["bytes"]) // 2).hex()

    return {"pages": (await ctx.step.run("pages", pages))[:32]}


@client.create_function(fn_id="nap", trigger=event("nap"))
async def nap(ctx: inngest.Context) -> dict[str, str]:
    async def before() -> str:
        return begun("before", ctx)

    async def after() -> str:
        return begun("after", ctx)

    first = await ctx.step.run("before", before)
    await ctx.step.sleep("nap", datetime.timedelta(seconds=float(ctx.event.data["seconds"])))
    return {"before": first, "after": await ctx.step.run("after", after)}


@client.create_function(fn_id="charge", trigger=event("charge"), retries=1)
async def charge(ctx: inngest.Context) -> dict[str, str]:
    async def bill() -> str:
        result = begun("bill", ctx)
        if ctx.attempt == 0:
            raise ValueError("declined")
        return result

    return {"bill": await ctx.step.run("bill", bill)}


@client.create_function(fn_id="fan", trigger=event("fan"))
async def fan(ctx: inngest.Context) -> dict[str, str]:
    async def branch(number: int) -> str:
        result = begun(f"branch-{number}", ctx)
        await stage.gate(f"branch-{number}")
        return result

    names = [f"branch-{number}" for number in range(5)]
    calls = [
        lambda number=number: ctx.step.run(f"branch-{number}", branch, number)
        for number in range(5)
    ]
    results = await ctx.group.parallel(tuple(calls))
    return dict(zip(names, results, strict=True))


@client.create_function(fn_id="crash", trigger=event("crash"), retries=0)
async def crash(ctx: inngest.Context) -> None:
    async def exit_process() -> None:
        begun("exit", ctx)
        os._exit(70)

    await ctx.step.run("exit", exit_process)


functions = [ship, print_pages, nap, charge, fan, crash]
asyncio.run(connect(apps=[(client, functions)], instance_id=stage.INSTANCE).start())
