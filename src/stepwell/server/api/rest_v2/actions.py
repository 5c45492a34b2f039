"""`POST /v2/runs/{id}/cancel`, `.../functions/{function}/invoke` and `/v2/events`.

Source: docs/reference/http-api.md, "REST v2".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.bodies import read_body
from stepwell.server.api.cancelling import Cancelled, cancel_run
from stepwell.server.api.functions import matches
from stepwell.server.api.responses import v2_data
from stepwell.server.api.rest_v2.paths import both
from stepwell.wire.events import parse_events
from stepwell.wire.ids import ulid_text
from stepwell.wire.json import decode_with, readable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from stepwell.server.api.context import Context
    from stepwell.server.runtime import FunctionEntry

NAME_CHARS_MAX: Final = 512
"""Of an event that is sent here."""

ROOM_BESIDE_DATA: Final = 16 * 2**10


class _Invoke(msgspec.Struct):
    data: dict[str, msgspec.Raw] | None = None
    idempotency_key: str | None = None
    idempotency_key_camel: str | None = msgspec.field(default=None, name="idempotencyKey")


class _Named(msgspec.Struct):
    name: str | None = None


_INVOKE = msgspec.json.Decoder(_Invoke)
_NAMED = msgspec.json.Decoder(_Named)


class Actions:
    """What changes something; all of it is durable when it answers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        function = "/apps/{app}/functions/{function}"
        return [
            *both("/runs/{run_id}/cancel", self.cancel, "POST"),
            *both("/runs/{run_id}/rerun", self.rerun, "POST"),
            *both(f"{function}/invoke", self.invoke, "POST"),
            *both("/events", self.send, "POST"),
        ]

    async def cancel(self, request: Request) -> Response:
        """Cancel a run.

        Raises:
            WireError: 404, or 409 `run_already_cancelled` or `run_already_ended`.
        """
        run_id = queries.run_id(request.path_params["run_id"])
        match await cancel_run(self._context, run_id):
            case Cancelled.BEFORE:
                raise WireError(
                    "The run is cancelled already", code="run_already_cancelled", status=409
                )
            case Cancelled.ENDED:
                raise WireError("The run has ended already", code="run_already_ended", status=409)
            case Cancelled.NOW:
                return self._answer({"runId": ulid_text(run_id)})

    async def rerun(self, _request: Request) -> Response:
        raise WireError(
            "rerun is not supported in this version", code="not_implemented", status=501
        )

    async def invoke(self, request: Request) -> Response:
        """Start a function.

        Raises:
            WireError: 400 without `data`, 404 for an unknown app or function, 501 for a key.
        """
        entry = self._function(request)
        body = await self._body(request)
        given = decode_with(_INVOKE, body)
        if given.data is None:
            raise WireError("Input data is required", code="missing_field")
        if given.idempotency_key or given.idempotency_key_camel:
            raise WireError(
                "idempotencyKey is not supported in this version; send an event with an id",
                code="not_implemented",
                status=501,
            )
        data = readable(msgspec.json.encode(given.data))
        started = await self._context.runtime.invoke(entry.function_id, data=data)
        if started is None:  # it was archived meanwhile
            raise WireError("Function not found", code="not_found", status=404)
        return self._answer({"runId": ulid_text(started[0])})

    async def send(self, request: Request) -> Response:
        """Store one event.

        Raises:
            WireError: 400 for what is no event.
            LimitExceeded: 413.
        """
        body = await self._body(request)
        name = decode_with(_NAMED, body).name
        if not name:
            raise WireError("Event name is required", code="missing_field")
        if len(name) > NAME_CHARS_MAX:
            raise WireError(
                f"an event's name may have {NAME_CHARS_MAX} characters here, this has {len(name)}",
                code="invalid_field_format",
            )
        events = parse_events(body, event_bytes_max=self._context.settings.event_bytes_max)
        (event_id,) = await self._context.runtime.receive_events(events, None)
        return self._answer({"eventId": event_id})

    def _function(self, request: Request) -> FunctionEntry:
        app, name = request.path_params["app"], request.path_params["function"]
        catalog = self._context.runtime.catalog
        if app not in catalog.apps:
            raise WireError("App not found", code="not_found", status=404)
        for entry in catalog.functions:
            if entry.app_name == app and matches(entry, name):
                return entry
        raise WireError("Function not found", code="not_found", status=404)

    async def _body(self, request: Request) -> bytes:
        return await read_body(
            request.receive,
            dict(request.scope["headers"]),
            bytes_max=self._context.settings.event_bytes_max + ROOM_BESIDE_DATA,
            timeout_s=self._context.body_timeout_s,
        )

    def _answer(self, data: dict[str, str]) -> Response:
        return v2_data(data, now_ms=self._context.runtime.now_ms())
