"""Functions whose calls go on, for each preset, async and sync; each body notes its begin."""

import asyncio
import uuid
from typing import Any

import stage

import stepwell
from stepwell.connect import connect

client = stepwell.Client(app_id=stage.APP)
STEPS = 8


def begun(ctx: Any, step: str) -> str:
    result = uuid.uuid4().hex
    stage.ran("begin", run=ctx.run_id, step=step, result=result)
    return result


async def body(ctx: Any, step: str) -> str:
    result = begun(ctx, step)
    if ctx.event.data.get("gate") == step:
        await stage.gate(step)
    return result


def body_sync(ctx: Any, step: str) -> str:
    result = begun(ctx, step)
    if ctx.event.data.get("gate") == step:
        stage.gate_sync(step)
    return result


def declare(preset: Any) -> list[stepwell.Function[Any]]:
    @client.function(preset, event=f"{stage.APP}/{preset}", checkpointing=preset)
    async def chain(ctx: stepwell.Context) -> list[str]:
        return [await ctx.step.run(f"step-{n}", body, ctx, f"step-{n}") for n in range(STEPS)]

    @client.function(f"{preset}-sync", event=f"{stage.APP}/{preset}-sync", checkpointing=preset)
    def chain_sync(ctx: stepwell.ContextSync) -> list[str]:
        return [ctx.step.run(f"step-{n}", body_sync, ctx, f"step-{n}") for n in range(STEPS)]

    @client.function(f"{preset}-fan", event=f"{stage.APP}/{preset}-fan", checkpointing=preset)
    async def fan(ctx: stepwell.Context) -> list[str]:
        async def branch(number: int) -> list[str]:
            return [
                await ctx.step.run(f"step-{number}", body, ctx, f"step-{number}"),
                await ctx.step.run(f"then-{number}", body, ctx, f"then-{number}"),
            ]

        pairs = await ctx.group.parallel([lambda n=n: branch(n) for n in range(4)])
        return [each for pair in pairs for each in pair]

    return [chain, chain_sync, fan]


functions = [each for preset in ("safe", "blended", "performant") for each in declare(preset)]

if __name__ == "__main__":
    asyncio.run(connect(apps=[(client, functions)], instance_id=stage.INSTANCE).start())
