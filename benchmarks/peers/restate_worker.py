"""The work in Restate's terms. Usage: python restate_worker.py REPORT_PORT PORT asyncio|uvloop

A service on `PORT` that Restate's server calls over HTTP/2 without TLS.
"""

from __future__ import annotations

import importlib
import socket
import sys
from typing import Any

restate: Any = importlib.import_module("restate")


async def main() -> None:
    report = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    report.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"127.0.0.1:{sys.argv[2]}"]
    serve: Any = importlib.import_module("hypercorn.asyncio").serve
    app = restate.app([_service(lambda number: report.sendall(b"%d\n" % number))])
    await serve(app, config)


def _service(report: Any) -> Any:
    bench = restate.Service("bench")

    async def step() -> str:
        return "a result of 20 bytes"

    async def one(ctx: Any, number: int) -> None:
        await ctx.run_typed("only", step)
        report(number)

    async def ten(ctx: Any, number: int) -> None:
        for at in range(10):
            await ctx.run_typed(f"step-{at}", step)
        report(number)

    async def fan(ctx: Any, number: int) -> None:
        await restate.gather(*(ctx.run_typed(f"branch-{at}", step) for at in range(50)))
        report(number)

    for handler in (one, ten, fan):
        bench.handler()(handler)
    return bench


if __name__ == "__main__":
    importlib.import_module(sys.argv[3]).run(main())
