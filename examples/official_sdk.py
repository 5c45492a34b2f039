"""The official Python SDK, unchanged, as a worker of a Stepwell server.

pip install 'inngest[connect]'
INNGEST_DEV=1 python examples/official_sdk.py
stepwell send user.created '{"user_id": 7}'
"""

import asyncio
import logging

import inngest
from inngest.connect import connect

client = inngest.Inngest(app_id="official", logger=logging.getLogger("worker"))


@client.create_function(
    fn_id="handle-signup",
    trigger=inngest.TriggerEvent(event="user.created"),
)
async def handle_signup(ctx: inngest.Context) -> str:
    async def look_up() -> str:
        return f"user {ctx.event.data['user_id']}"

    return await ctx.step.run("look-up", look_up)


if __name__ == "__main__":
    asyncio.run(connect(apps=[(client, [handle_signup])]).start())
