"""`GET /v1/apps/{app}/functions`, an array without an envelope, and `/v1/prom/{env}`, a 501.

Source: docs/reference/http-api.md, "REST v1".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from stepwell.errors import WireError
from stepwell.server.api.responses import iso, json_response, raw
from stepwell.wire.ids import ENVIRONMENT_ID

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context
    from stepwell.server.runtime import FunctionEntry


class AppReads:
    """Functions of an app."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route("/v1/apps/{app}/functions", self.functions),
            Route("/v1/prom/{environment}", self.metrics),
        ]

    async def functions(self, request: Request) -> Response:
        """By slug; archived ones are left out."""
        catalog = self._context.runtime.catalog
        name = request.path_params["app"]
        if name not in catalog.apps:
            raise WireError("App not found", code="not_found", status=404)
        entries = [entry for entry in catalog.functions if entry.app_name == name]
        return json_response([_object(entry) for entry in sorted(entries, key=lambda e: e.slug)])

    async def metrics(self, _request: Request) -> Response:
        raise WireError(
            "metrics by environment are not supported", code="not_implemented", status=501
        )


def _object(entry: FunctionEntry) -> dict[str, Any]:
    return {
        "internal_id": entry.function_id,
        "env_id": ENVIRONMENT_ID,
        "app_id": entry.app_id,
        "id": entry.slug,
        "name": entry.config.name,
        "config": raw(bytes(entry.config.raw)),
        "created_at": iso(entry.created_at_ms),
        "archived_at": iso(entry.archived_at_ms),
    }
