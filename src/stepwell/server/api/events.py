"""`POST /e/{key}`: events in. Plain ASGI, since this is the route that everybody waits for.

Source: docs/reference/wire/events.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from stepwell.server.api.bodies import read_body
from stepwell.server.api.responses import error_response
from stepwell.wire.events import parse_events, parse_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from stepwell.server.api.auth import Gate
    from stepwell.server.api.context import Context


class EventIntake:
    """Takes one event or an array of them; answers when they are on disk.

    A batch is taken whole or refused whole. The ids are internal ids in the order of the input.
    """

    def __init__(self, context: Context, gate: Gate) -> None:
        self._runtime = context.runtime
        self._gate = gate
        self._body_timeout_s = context.body_timeout_s
        self._event_bytes_max = context.settings.event_bytes_max
        self._request_bytes_max = context.settings.event_request_bytes_max

    async def __call__(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        path: str = scope["path"]
        if not self._gate.knows_event_key(scope):
            refusal = error_response(path, 401, "event_key_unknown", "Event key not found")
            await refusal(scope, receive, send)
            return
        if scope["method"] != "POST":
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        body = await read_body(
            receive, headers, bytes_max=self._request_bytes_max, timeout_s=self._body_timeout_s
        )
        events = parse_events(body, event_bytes_max=self._event_bytes_max)
        seed_header = headers.get(b"x-inngest-event-id-seed")
        seed = None if seed_header is None else parse_seed(seed_header.decode("latin-1"))
        ids = await self._runtime.receive_events(events, seed)
        # Ids are ULIDs: nothing in them needs escaping.
        answer = b'{"ids":["' + '","'.join(ids).encode() + b'"],"status":200}'
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", b"%d" % len(answer)),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer})
