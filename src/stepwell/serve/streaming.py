"""Streamed answers: 201 at once, spaces while the function runs, then the answer in an envelope.

For programs behind something that gives up on connections that are silent for long.
Source: docs/reference/wire/http-sdk.md, "streaming".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.config import SDK_NAME
from stepwell.serve.answers import HANDLED

if TYPE_CHECKING:
    from stepwell.serve.messages import Response

HEARTBEAT: Final = b" "
HEARTBEAT_S: Final = 3.0

STREAM_HEADERS: Final = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Inngest-SDK": SDK_NAME,
    HANDLED: "true",
}
"""What is known before the function has run. Only trusted callers come so far."""


def envelope(response: Response) -> bytes:
    """The answer inside the stream; its status and headers count in place of the stream's.

    A body that is a JSON text goes as a text in a text: readers take a text to hold JSON.
    """
    body: Any = msgspec.Raw(response.body)
    if response.body.startswith(b'"'):
        body = response.body.decode()
    return msgspec.json.encode(
        {"status": response.status, "headers": response.headers, "body": body}
    )
