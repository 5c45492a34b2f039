"""What our SDK has beyond the official one, for the same scenarios; scenarios.py adds it."""

import stepwell


def add(client, functions, define, left_out):
    """The functions that scenarios.py lacks; `define` is its own."""

    @define("signal")
    async def signal(ctx):
        data = ctx.event.data
        found = await ctx.step.wait_for_signal(
            "s",
            signal=data["signal"],
            timeout=data["ms"],
            on_conflict=data.get("conflict", "fail"),
        )
        return None if found is None else {"signal": found.signal, "data": found.data}

    @define("fetch")
    async def fetch(ctx):
        response = await ctx.step.fetch("f", ctx.event.data["url"])
        return {"status": response.status_code, "body": response.body}

    if "deferred" in left_out:
        return

    @client.create_function(fn_id="deferred", trigger=stepwell.TriggerDeferred())
    async def deferred(ctx):
        return ctx.event.data["n"]

    functions.append(deferred)

    @define("deferring")
    async def deferring(ctx):
        async def one():
            return 1

        ctx.step.defer("later", deferred, {"n": 5})
        a = await ctx.step.run("a", one)
        await ctx.step.sleep("s", 1_000)
        return a
