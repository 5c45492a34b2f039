"""Reading request bodies: bounded in bytes and in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stepwell.errors import LimitExceeded, WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive

BODY_TIMEOUT_S = 30.0  # A body of the largest size needs 1 MiB/s; who is slower than that hangs.


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], *, bytes_max: int, timeout_s: float
) -> bytes:
    """The whole body.

    A body that says it is too long is refused unread. The server reads and drops what comes
    after a refusal, so the client gets to see it.

    Raises:
        LimitExceeded: 413, over `bytes_max`, announced or not.
        WireError: 408 `body_timeout`, not complete in time.
        ClientGone: The connection closed.
    """
    announced = headers.get(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > bytes_max:
        raise _too_large(bytes_max, int(announced))
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                part = message.get("body", b"")
                size += len(part)
                if size > bytes_max:
                    raise _too_large(bytes_max, size)
                if not message.get("more_body", False):
                    return part if not parts else b"".join((*parts, part))
                parts.append(part)
    except TimeoutError as error:
        raise WireError(
            f"the body was not complete after {timeout_s:g} s ({size} bytes came)",
            code="body_timeout",
            status=408,
        ) from error


def _too_large(bytes_max: int, seen: int) -> LimitExceeded:
    return LimitExceeded(
        f"Request is over the max size: Max {bytes_max} bytes / Size {seen} bytes",
        code="request_too_large",
        status=413,
    )
