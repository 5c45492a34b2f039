"""`POST /invoke/{function}`: start one function, whatever its triggers are.

Source: docs/reference/http-api.md, "Invoking".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.routing import Route

from stepwell.errors import WireError
from stepwell.server.api.bodies import read_body
from stepwell.server.api.responses import json_response
from stepwell.wire.ids import ulid_text
from stepwell.wire.json import decode_with, readable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context


class _Body(msgspec.Struct):
    data: dict[str, msgspec.Raw] | None = None
    user: dict[str, msgspec.Raw] | None = None
    v: str | None = None


_BODY = msgspec.json.Decoder(_Body)


class Invocations:
    """Invocations from outside."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [Route("/invoke/{function:path}", self.invoke, methods=["POST"])]

    async def invoke(self, request: Request) -> Response:
        """Durable when it answers with the event's id and the run's.

        Raises:
            WireError: 400 `invalid_json`, 404 `not_found`.
            LimitExceeded: 413.
        """
        body = await read_body(
            request.receive,
            dict(request.scope["headers"]),
            bytes_max=self._context.settings.event_bytes_max,
            timeout_s=self._context.body_timeout_s,
        )
        try:
            given = decode_with(_BODY, body)
        except WireError as error:
            raise WireError(
                f"Unable to read post data request: {error.message}", code="invalid_json"
            ) from error
        function = request.path_params["function"]
        started = await self._context.runtime.invoke(
            function,
            data=readable(msgspec.json.encode(given.data or {})),
            user=None if given.user is None else readable(msgspec.json.encode(given.user)),
            v=given.v,
        )
        if started is None:
            raise WireError(
                f"could not find function with ID: {function}",
                code="not_found",
                status=404,
            )
        run_id, event_id = started
        return json_response(
            {"id": ulid_text(event_id), "run_id": ulid_text(run_id), "status": 200}
        )
