"""A worker with one durable function. It needs a server: `stepwell dev`.

Then, in two more terminals:

    python examples/hello.py
    stepwell send user.created '{"user_id": 7}'
"""

from datetime import timedelta

import stepwell
from stepwell.connect import connect

client = stepwell.Client(app_id="hello")


async def look_up(user_id: int) -> dict[str, str]:
    return {"address": f"user-{user_id}@example.com"}


async def send_mail(address: str) -> str:
    return f"sent to {address}"


@client.create_function(
    fn_id="welcome",
    trigger=stepwell.TriggerEvent(event="user.created"),
)
async def welcome(ctx: stepwell.Context) -> str:
    user = await ctx.step.run("look-up", look_up, ctx.event.data["user_id"])
    await ctx.step.sleep("not-at-once", timedelta(seconds=1))
    return await ctx.step.run("send-mail", send_mail, user["address"])


if __name__ == "__main__":
    connect(apps=[(client, [welcome])]).run()
