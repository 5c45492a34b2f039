"""Every v2 route stands under two prefixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response


def both(
    path: str, handler: Callable[[Request], Awaitable[Response]], method: str = "GET"
) -> list[Route]:
    """Routes for a path below `/v2` and `/api/v2`."""
    return [Route(prefix + path, handler, methods=[method]) for prefix in ("/v2", "/api/v2")]
