"""What our SDK has beyond the official one, for the same scenarios; scenarios.py adds it."""

import asyncio
import pathlib
import time

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

    def eager(fn_id, **options):
        options = {"checkpointing": True} | options
        return define(fn_id, **options)

    def noting(ctx, name):
        ledger = pathlib.Path(ctx.event.data["ledger"])
        gate = pathlib.Path(ctx.event.data["gate"])

        async def body():
            with ledger.open("a") as notes:  # noqa: ASYNC230 - a line
                notes.write(f"{name}\n")
            # Another process opens it.
            while name == "s2" and not gate.exists():  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(0.02)

        return body

    @eager("eager")
    async def eager_steps(ctx):
        async def now_ms():
            return time.time_ns() // 1_000_000

        return [await ctx.step.run(name, now_ms) for name in "abc"]

    @eager("eager-ledger", retries=20)
    async def eager_ledger(ctx):
        for name in ("s0", "s1", "s2", "s3", "s4"):
            await ctx.step.run(name, noting(ctx, name))
        return "done"

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
