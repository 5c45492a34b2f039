"""Three steps that note their bodies; the second waits where its event says so.

The same as noted.mjs and the Go program's `noted`.
"""

import asyncio
import os
import uuid

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP, app_version=os.environ["STAGE_VERSION"])
RETRIES = 20  # What an SDK uses up by itself must not end a run.


async def body(ctx: inngest.Context, step: str) -> str:
    result = uuid.uuid4().hex
    stage.ran("begin", run=ctx.run_id, step=step, attempt=ctx.attempt, result=result)
    gate = ctx.event.data.get("gate")
    if step == "held" and gate and ctx.event.data.get("blocks"):
        stage.gate_sync(gate)  # and with it everything that this loop does
    elif step == "held" and gate:
        await stage.gate(gate)
    stage.ran("end", result=result)
    return result


@client.create_function(
    fn_id="noted", trigger=inngest.TriggerEvent(event=f"{stage.APP}/noted"), retries=RETRIES
)
async def noted(ctx: inngest.Context) -> list[str]:
    return [await ctx.step.run(step, body, ctx, step) for step in ("first", "held", "last")]


asyncio.run(connect(apps=[(client, [noted])], instance_id=stage.INSTANCE).start())
