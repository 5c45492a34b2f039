"""Brings up what `endpoints` serves."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from benchmarks.processes import IMPORTS, free_port, scratch, spawned, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def endpoint(kind: str) -> AsyncIterator[int]:
    """The port of a new process that serves `http` or `echo`."""
    port = free_port()
    with scratch() as folder:
        async with spawned(
            sys.executable,
            "-m",
            "benchmarks.endpoints",
            kind,
            str(port),
            folder=folder,
            log="endpoint.log",
            environment=IMPORTS,
        ) as process:

            async def listens() -> bool:
                with contextlib.suppress(OSError):
                    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return True
                return False

            await until(listens, process, folder / "endpoint.log")
            yield port
