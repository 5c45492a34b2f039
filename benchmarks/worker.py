"""The worker of the benchmarks, for our SDK and for the official one.

Usage: python worker.py stepwell|inngest REPORT_PORT [safe|performant]

The last argument is a preset of checkpointing, which our SDK has; without it there is none.

The last line of a function's body tells the driver, over TCP, that run number `n` is there: the
driver's clock then has both ends of the run.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from typing import Any

DAY_MS = 86_400_000


def main() -> None:
    sdk: Any = importlib.import_module(sys.argv[1])
    connect: Any = importlib.import_module(f"{sys.argv[1]}.connect").connect
    report = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    report.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = sdk.Inngest(app_id="bench", **({"checkpointing": sys.argv[3]} if sys.argv[3:] else {}))

    @client.create_function(fn_id="one", trigger=sdk.TriggerEvent(event="bench/one"))  # type: ignore[untyped-decorator]
    async def one(ctx: Any) -> None:
        await ctx.step.run("only", _step)
        report.sendall(b"%d\n" % ctx.event.data["n"])

    @client.create_function(fn_id="ten", trigger=sdk.TriggerEvent(event="bench/ten"))  # type: ignore[untyped-decorator]
    async def ten(ctx: Any) -> None:
        for number in range(10):
            await ctx.step.run(f"step-{number}", _step)
        report.sendall(b"%d\n" % ctx.event.data["n"])

    @client.create_function(fn_id="fan", trigger=sdk.TriggerEvent(event="bench/fan"))  # type: ignore[untyped-decorator]
    async def fan(ctx: Any) -> None:
        await ctx.group.parallel(
            tuple(
                lambda number=number: ctx.step.run(f"branch-{number}", _step)
                for number in range(50)
            )
        )
        report.sendall(b"%d\n" % ctx.event.data["n"])

    @client.create_function(fn_id="wait", trigger=sdk.TriggerEvent(event="bench/wait"))  # type: ignore[untyped-decorator]
    async def wait(ctx: Any) -> None:
        await ctx.step.wait_for_event(
            "go", event="bench/go", if_exp="event.data.n == async.data.n", timeout=DAY_MS
        )
        report.sendall(b"%d\n" % ctx.event.data["n"])

    connection = connect(apps=[(client, [one, ten, fan, wait])])
    if sys.argv[1] == "stepwell":
        connection.run()
    else:
        asyncio.run(connection.start())


async def _step() -> str:
    return "a result of 20 bytes"


if __name__ == "__main__":
    main()
