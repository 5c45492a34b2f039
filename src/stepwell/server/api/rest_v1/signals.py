"""`POST /v1/signals`: wake the run that waits for a signal.

Source: docs/reference/http-api.md, "Signals".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from starlette.routing import Route

from stepwell.errors import WireError
from stepwell.server.api.bodies import read_body
from stepwell.server.api.responses import v1_data
from stepwell.wire.ids import ulid_text
from stepwell.wire.json import decode_with, readable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context

SIGNAL_BYTES_MAX: Final = 4 * 2**20
"""A signal becomes the outcome of a step, which may have as much."""


class _Signal(msgspec.Struct):
    signal: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_SIGNAL = msgspec.json.Decoder(_Signal)


class Signals:
    """Signals from outside."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [Route("/v1/signals", self.send, methods=["POST"])]

    async def send(self, request: Request) -> Response:
        """The run that got it; durable when it answers.

        Raises:
            WireError: 400 for what is no signal, 404 `not_found` if no run waits for it.
            LimitExceeded: 413.
        """
        body = await read_body(
            request.receive,
            dict(request.scope["headers"]),
            bytes_max=SIGNAL_BYTES_MAX,
            timeout_s=self._context.body_timeout_s,
        )
        given = decode_with(_SIGNAL, body)
        if not given.signal:
            raise WireError("the signal has no name", code="missing_field")
        runtime = self._context.runtime
        run_id = await runtime.send_signal(given.signal, readable(bytes(given.data)))
        if run_id is None:
            raise WireError("No signal found", code="not_found", status=404)
        return v1_data({"run_id": ulid_text(run_id)}, now_ms=runtime.now_ms())
