"""`/health`: the process answers. `/ready`: it takes work. `/v2/health`: the API answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from stepwell.errors import StoreError
from stepwell.server.api.responses import json_response, v2_data
from stepwell.wire.ids import EventId

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context

_NO_EVENT = EventId(bytes(16))


class Health:
    """What load balancers and people ask first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/v2/health", self.v2_health),
            Route("/api/v2/health", self.v2_health),
        ]

    async def health(self, _request: Request) -> Response:
        return json_response({"status": 200, "message": "OK"})

    async def ready(self, _request: Request) -> Response:
        """200 when the store answers and the server is not draining, else 503 with the reason."""
        if self._context.drained():
            return _not_ready("draining")
        try:
            self._context.reader.event(_NO_EVENT)
        except StoreError:
            return _not_ready("store unavailable")
        return json_response({"status": 200, "message": "ready"})

    async def v2_health(self, _request: Request) -> Response:
        return v2_data({"status": "ok"}, now_ms=self._context.runtime.now_ms())


def _not_ready(reason: str) -> Response:
    return json_response({"status": 503, "message": reason}, 503)
