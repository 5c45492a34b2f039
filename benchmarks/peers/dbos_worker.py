"""The work in DBOS's terms. Usage: python dbos_worker.py REPORT_PORT DATABASE_FILE

DBOS is a library: there is no server to send a run to. So the driver's line `one 17` on the
connection that reports go over starts a workflow in this process, which costs DBOS less than
any request would.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any


async def main() -> None:
    dbos: Any = importlib.import_module("dbos")
    library = dbos.DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{sys.argv[2]}",
            "log_level": "ERROR",
        }
    )
    lines: list[asyncio.StreamWriter] = []
    flows = _workflows(library, lambda number: lines[0].write(b"%d\n" % number))
    library.launch()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    lines.append(writer)
    while line := await reader.readline():
        work, number = line.split()
        await library.start_workflow_async(flows[work.decode()], int(number))
    library.destroy()


def _workflows(library: Any, report: Any) -> dict[str, Any]:
    @library.step()  # type: ignore[untyped-decorator]
    async def step() -> str:
        return "a result of 20 bytes"

    @library.workflow()  # type: ignore[untyped-decorator]
    async def one(number: int) -> None:
        await step()
        report(number)

    @library.workflow()  # type: ignore[untyped-decorator]
    async def ten(number: int) -> None:
        for _ in range(10):
            await step()
        report(number)

    @library.workflow()  # type: ignore[untyped-decorator]
    async def fan(number: int) -> None:
        await asyncio.gather(*(step() for _ in range(50)))
        report(number)

    return {"one": one, "ten": ten, "fan": fan}


if __name__ == "__main__":
    asyncio.run(main())
