"""A FastAPI program that serves a durable function. It needs a server: `stepwell dev`.

Then, in two more terminals:

    python examples/serve_fast_api.py
    stepwell send user.created '{"user_id": 7}'
"""

import os
from datetime import timedelta

import uvicorn
from fastapi import FastAPI

import stepwell
import stepwell.fast_api

client = stepwell.Client(app_id="hello-fast-api")
app = FastAPI()


async def look_up(user_id: int) -> dict[str, str]:
    return {"address": f"user-{user_id}@example.com"}


@client.create_function(
    fn_id="greet-new-user",
    trigger=stepwell.TriggerEvent(event="user.created"),
)
async def greet_new_user(ctx: stepwell.Context) -> str:
    user = await ctx.step.run("look-up", look_up, ctx.event.data["user_id"])
    await ctx.step.sleep("not-at-once", timedelta(seconds=1))
    return f"welcome, {user['address']}"


@app.post("/users/{user_id}")
async def sign_up(user_id: int) -> dict[str, list[str]]:
    event = stepwell.Event(name="user.created", data={"user_id": user_id})
    return {"events": await client.send(event)}


stepwell.fast_api.serve(app, client, [greet_new_user])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
