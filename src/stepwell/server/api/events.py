"""`POST /e/{key}`: events in, as plain ASGI, and in parts for the protocol's short way.

Source: docs/reference/wire/events.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from stepwell.errors import LimitExceeded
from stepwell.server.api.bodies import read_body
from stepwell.server.api.responses import common_headers, error_response
from stepwell.wire.events import parse_events, parse_seed
from stepwell.wire.ids import ulid_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from stepwell.errors import StepwellError
    from stepwell.server.api.auth import Gate
    from stepwell.server.api.context import Context
    from stepwell.wire.events import EventSeed
    from stepwell.wire.ids import EventId

TARGETS_MAX: Final = 1_000
"""Request targets whose key was checked; a program that makes up keys has each checked anew."""

_PLAIN_TARGET: Final = re.compile(rb"/e/[A-Za-z0-9_.~-]{1,200}")


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
        self._targets: set[bytes] = set()
        lines = [b"%b: %b\r\n" % header for header in common_headers(context)]
        self._head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + b"".join(lines)

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
        answer = _answer(await self._runtime.receive_events(events, _seed(headers)))
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

    # --- the short way ---

    def opens(self, target: bytes) -> bool:
        """Whether a request's target is this route's, and plain, and its key is known.

        If not, it has to be looked at closer; nothing is logged.
        """
        if target in self._targets:
            return True
        if not _PLAIN_TARGET.fullmatch(target) or not self._gate.is_event_key(target[3:].decode()):
            return False
        if len(self._targets) < TARGETS_MAX:
            self._targets.add(target)
        return True

    def submit(
        self,
        body: bytes,
        headers: Mapping[bytes, bytes],
        done: Callable[[Sequence[EventId], StepwellError | None], None],
    ) -> None:
        """Take the body of a request whose target `opens`; `done` as in `submit_events`.

        Raises:
            StepwellError: Nothing was stored.
        """
        if len(body) > self._request_bytes_max:
            raise LimitExceeded(
                "the body is too large", limit=self._request_bytes_max, seen=len(body)
            )
        events = parse_events(body, event_bytes_max=self._event_bytes_max)
        self._runtime.submit_events(events, _seed(headers), done)

    def answer(self, ids: Sequence[EventId], *, keep_alive: bool) -> bytes:
        """The whole answer, with its head."""
        body = _answer([ulid_text(event_id) for event_id in ids])
        close = b"" if keep_alive else b"connection: close\r\n"
        return b"%bcontent-length: %d\r\n%b\r\n%b" % (self._head, len(body), close, body)


def _seed(headers: Mapping[bytes, bytes]) -> EventSeed | None:
    header = headers.get(b"x-inngest-event-id-seed")
    return None if header is None else parse_seed(header.decode("latin-1"))


def _answer(ids: Sequence[str]) -> bytes:
    # Ids are ULIDs: nothing in them needs escaping.
    return b'{"ids":["%b"],"status":200}' % '","'.join(ids).encode()
