"""Calls that are held until their round is opened; a worker that stands still meanwhile is late.

Bodies note their begin, and their end or that they were cancelled.
"""

import asyncio
import os
import uuid
from pathlib import Path

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)
DIRECTORY = Path(os.environ["STAGE_DIRECTORY"])
POLL_S = 0.05


@client.create_function(
    fn_id="held", trigger=inngest.TriggerEvent(event=f"{stage.APP}/held"), retries=20
)
async def held(ctx: inngest.Context) -> str:
    return await ctx.step.run("hold", hold, ctx.run_id, str(ctx.event.data["round"]))


async def hold(run_id: str, name: str) -> str:
    result = uuid.uuid4().hex
    stage.ran("begin", round=name, run=run_id, result=result)
    opened = DIRECTORY / f"{name}.open"
    try:
        while not opened.exists():  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(POLL_S)
    except asyncio.CancelledError:
        stage.ran("cancelled", result=result)
        raise
    stage.ran("end", result=result)
    return result


asyncio.run(connect(apps=[(client, [held])], instance_id=stage.INSTANCE).start())
