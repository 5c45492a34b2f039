"""`POST /fn/register`: an app says which functions it has. `DELETE /fn/remove`: it is gone.

Source: docs/reference/wire/registration.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import WireError
from stepwell.server.api.bodies import read_body
from stepwell.server.api.responses import json_response
from stepwell.wire.app_urls import normal_url
from stepwell.wire.functions import parse_register

if TYPE_CHECKING:
    from starlette.requests import Request

    from stepwell.server.api.context import Context

REGISTER_BYTES_MAX = 4 * 2**20  # A function's configuration is about 1 KiB.


class Registrations:
    """Syncs by HTTP. A sync is taken whole or refused whole."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route("/fn/register", self.register, methods=["POST"]),
            Route("/fn/remove", self.remove, methods=["DELETE"]),
        ]

    async def remove(self, request: Request) -> Response:
        """Take the app at `url` out of the list. Durable when it answers.

        Raises:
            WireError: 404 `app_not_found`.
        """
        url = request.query_params.get("url", "")
        context = self._context
        wanted = normal_url(url)
        found = False
        for app in context.runtime.catalog.transports.all():
            if url and normal_url(app.url) == wanted:
                found |= await context.runtime.remove_app(app.app_name, app.method)
                context.app_book.removed(app.app_name)
        if context.app_book.forget(url) or found:
            return Response(status_code=200)
        raise WireError(f"App not found: {url}", code="app_not_found", status=404)

    async def register(self, request: Request) -> Response:
        """Durable when it answers.

        Raises:
            WireError: 400 for another server kind, a body that is not a registration, or a
                function that this server cannot run; the text names the function and the reason.
        """
        kind = self._context.settings.server_kind
        expected = request.headers.get("x-inngest-expected-server-kind")
        if expected and expected != kind:
            raise WireError(
                f"Expected server kind {kind}, got {expected}", code="server_kind_mismatch"
            )
        body = await read_body(
            request.receive,
            dict(request.scope["headers"]),
            bytes_max=REGISTER_BYTES_MAX,
            timeout_s=self._context.body_timeout_s,
        )
        registration = parse_register(body)
        done = await self._context.runtime.register(registration)
        if registration.method == "serve":
            self._context.app_book.synced(
                registration.url, registration.app_name, functions=len(registration.functions)
            )
        return json_response(
            {
                "ok": True,
                "modified": done.modified,
                "sync_id": done.sync_id,
                "app_id": done.app_id,
            }
        )
