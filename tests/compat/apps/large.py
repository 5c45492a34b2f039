import asyncio

import inngest
import stage
from inngest.connect import connect

MIB = 2**20
client = inngest.Inngest(app_id=stage.APP)


@client.create_function(fn_id="output", trigger=inngest.TriggerEvent(event=f"{stage.APP}/output"))
async def output(ctx: inngest.Context) -> str:
    async def make() -> str:
        return "x" * MIB

    return await ctx.step.run("make", make)


@client.create_function(fn_id="event", trigger=inngest.TriggerEvent(event=f"{stage.APP}/event"))
async def event(ctx: inngest.Context) -> dict[str, int]:
    async def measure() -> int:
        return len(str(ctx.event.data["text"]))

    return {
        "step": await ctx.step.run("measure", measure),
        "function": len(str(ctx.event.data["text"])),
    }


@client.create_function(fn_id="state", trigger=inngest.TriggerEvent(event=f"{stage.APP}/state"))
async def state(ctx: inngest.Context) -> dict[str, object]:
    async def make(letter: str) -> str:
        stage.ran("make", letter=letter)
        return letter * MIB

    async def note() -> str:
        return str(ctx.event.data["order"])

    parts = [await ctx.step.run(f"make-{letter}", make, letter) for letter in "abcde"]
    return {
        "sizes": [len(part) for part in parts],
        "letters": "".join(part[0] for part in parts),
        "order": await ctx.step.run("note", note),
        "events": len(ctx.events),
    }


@client.create_function(fn_id="sync", trigger=inngest.TriggerEvent(event=f"{stage.APP}/sync"))
def state_sync(ctx: inngest.ContextSync) -> dict[str, object]:
    parts = [ctx.step.run(f"make-{letter}", lambda x: x * MIB, letter) for letter in "vwxyz"]
    return {"letters": "".join(part[0] for part in parts), "order": ctx.event.data["order"]}


functions = [output, event, state, state_sync]
asyncio.run(connect(apps=[(client, functions)], instance_id=stage.INSTANCE).start())
