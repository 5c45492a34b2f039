import asyncio
import functools

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(fn_id="fan", trigger=inngest.TriggerEvent(event=f"{stage.APP}/fan"))
async def fan(ctx: inngest.Context) -> list[int]:
    async def square(number: int) -> int:
        stage.ran("square", run=ctx.run_id, number=number)
        return number * number

    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    squares = await ctx.group.parallel(
        tuple(
            functools.partial(ctx.step.run, f"square-{number}", square, number)
            for number in range(int(ctx.event.data["width"]))
        )
    )
    return [await ctx.step.run("total", total, list(squares)), *squares]


@client.create_function(fn_id="meet", trigger=inngest.TriggerEvent(event=f"{stage.APP}/meet"))
async def meet(ctx: inngest.Context) -> list[str]:
    async def wait_at(gate: str) -> str:
        await stage.gate(gate)
        return gate

    gates = await ctx.group.parallel(
        tuple(functools.partial(ctx.step.run, name, wait_at, name) for name in ("left", "right"))
    )
    return list(gates)


asyncio.run(connect(apps=[(client, [fan, meet])], instance_id=stage.INSTANCE).start())
