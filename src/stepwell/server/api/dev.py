"""`GET /dev`: how SDKs and test suites recognise a dev server.

Source: docs/reference/http-api.md, "Dev server".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.routing import Route

from stepwell.server.api.responses import json_response
from stepwell.version import __version__
from stepwell.wire.json import decode

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context
    from stepwell.server.runtime import FunctionEntry


class DevInfo:
    """Version, start options and functions; in start mode a 404 that is not JSON.

    SDKs take any JSON here, whatever its status, for a dev server.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [Route("/dev", self.info)]

    async def info(self, _request: Request) -> Response:
        settings = self._context.settings
        if settings.mode != "dev":
            return PlainTextResponse("404 page not found", 404)
        functions = self._context.runtime.catalog.functions
        return json_response(
            {
                "version": __version__,
                "authed": False,
                "startOpts": {
                    "urls": list(settings.sdk_urls),
                    "autodiscover": not settings.no_discovery,
                    "poll": not settings.no_poll,
                    "require_keys": False,
                    "retry_interval": _seconds(settings.retry_interval_ms or 0),
                    "connectGatewayPort": urlsplit(self._context.gateway_url("")).port
                    or settings.connect_gateway_port,
                    "connectGatewayHost": settings.host,
                    "persist": not settings.in_memory,
                    "dir": "" if settings.in_memory else str(settings.data_dir),
                },
                "functions": [_configuration(entry) for entry in functions],
                "handlers": None,
                "isSingleNodeService": True,
                "isMissingSigningKey": False,
                "isMissingEventKeys": False,
                "features": {},
            }
        )


def _seconds(ms: int) -> int | float:
    """Whole seconds as an integer: some clients read nothing else."""
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def _configuration(entry: FunctionEntry) -> dict[str, Any]:
    """The stored configuration with the names that suites read."""
    stored = decode(bytes(entry.config.raw))
    fields = stored if isinstance(stored, dict) else {}
    return {
        **fields,
        "id": entry.function_id,
        "fv": entry.version,
        "name": entry.config.name,
        "slug": entry.slug,
        "triggers": fields.get("triggers") or [],
    }
