"""Looks for served apps on the usual ports of this machine, in development.

Source: docs/reference/wire/http-sdk.md, "Discovery".
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from stepwell.errors import OutboundError
from stepwell.wire.http_calls import SDK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stepwell.server.outbound import OutboundClient

PORTS = (80, 443, *range(3000, 3011), 4321, 5000, 5173, 8000, 8080, 8081, 8787, 8888,
         *range(8910, 8916))  # fmt: skip
PATHS = (
    "/api/inngest",
    "/x/inngest",
    "/.netlify/functions/inngest",
    "/.redwood/functions/inngest",
)
PROBE_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 0.5  # on this machine
ANSWER_BYTES_MAX = 2**20


async def discover(
    client: OutboundClient, *, ports: Iterable[int] | None = None, without: Sequence[int] = ()
) -> list[str]:
    """The URLs of apps that answer, by port.

    Args:
        ports: To look at; the usual ones if None, and the one that `PORT` names.
        without: Ports that are the server's own.
    """
    wanted = sorted({*(_usual_ports() if ports is None else ports)} - {*without})
    found = await asyncio.gather(*(_app_at(client, port) for port in wanted))
    return [url for url in found if url is not None]


async def _app_at(client: OutboundClient, port: int) -> str | None:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return None
    writer.close()
    for path in PATHS:
        url = f"http://localhost:{port}{path}"
        try:
            answer = await client.request(
                "GET", url, headers={}, timeout_s=PROBE_TIMEOUT_S, bytes_max=ANSWER_BYTES_MAX
            )
        except OutboundError:
            return None  # something else lives there
        if SDK in answer.headers:
            return url
    return None


def _usual_ports() -> tuple[int, ...]:
    given = os.environ.get("PORT", "")
    if given.isascii() and given.isdigit() and 0 < int(given) < 65_536:
        return (*PORTS, int(given))
    return PORTS
