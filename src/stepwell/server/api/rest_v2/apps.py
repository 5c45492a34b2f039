"""`GET /v2/apps`, `/v2/apps/{app}`, `/v2/apps/{app}/functions` and `.../functions/{function}`.

Source: docs/reference/http-api.md, "REST v2".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.functions import matches
from stepwell.server.api.responses import v2_data
from stepwell.server.api.rest_v2.objects import app_object, function_object, site_object
from stepwell.server.api.rest_v2.paths import both
from stepwell.wire.app_urls import normal_url

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from stepwell.engine.rows import PutApp
    from stepwell.server.api.context import Context
    from stepwell.server.runtime import FunctionEntry

LIMIT_DEFAULT = 20
LIMIT_MAX = 100


class AppReads:
    """Apps and functions, from the catalog in memory."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            *both("/apps", self.listing),
            *both("/apps/{app}", self.one),
            *both("/apps/{app}/functions", self.functions),
            *both("/apps/{app}/functions/{function}", self.function),
        ]

    async def listing(self, request: Request) -> Response:
        """By name; the cursor is the last name shown. Places where no app has synced yet are
        listed by their URL."""
        apps = self._context.runtime.catalog.apps
        shown = {name: self._object(app) for name, app in apps.items()}
        known = {normal_url(app.url) for app in self._context.runtime.catalog.transports.all()}
        for site in self._context.app_book.sites:
            if site.app_name not in apps and site.url not in known:
                shown[site.url] = site_object(site)
        return self._page(request, dict(sorted(shown.items())))

    async def one(self, request: Request) -> Response:
        app = self._found(request)
        return v2_data(self._object(app), now_ms=self._context.runtime.now_ms())

    async def functions(self, request: Request) -> Response:
        """By slug; the cursor is the last slug shown."""
        entries = sorted(self._of(self._found(request).name), key=lambda entry: entry.slug)
        return self._page(request, {entry.slug: function_object(entry) for entry in entries})

    async def function(self, request: Request) -> Response:
        name = request.path_params["function"]
        for entry in self._of(self._found(request).name):
            if matches(entry, name):
                return v2_data(function_object(entry), now_ms=self._context.runtime.now_ms())
        raise WireError("Function not found", code="not_found", status=404)

    def _found(self, request: Request) -> PutApp:
        app = self._context.runtime.catalog.apps.get(request.path_params["app"])
        if app is None:
            raise WireError("App not found", code="not_found", status=404)
        return app

    def _object(self, app: PutApp) -> dict[str, object]:
        trouble = None
        served = self._context.runtime.catalog.transports.of(app.name, "serve")
        if served is not None:
            trouble = self._context.app_book.trouble(app_name=app.name, url=served.url)
        return app_object(app, len(self._of(app.name)), trouble)

    def _of(self, app_name: str) -> list[FunctionEntry]:
        functions = self._context.runtime.catalog.functions
        return [entry for entry in functions if entry.app_name == app_name]

    def _page(self, request: Request, objects: dict[str, dict[str, object]]) -> Response:
        query = request.query_params
        limit = queries.limit(query, default=LIMIT_DEFAULT, most=LIMIT_MAX)
        cursor = query.get("cursor", "")
        names = [name for name in objects if name > cursor]
        page: dict[str, object] = {"limit": limit}
        if len(names) > limit:
            page |= {"hasMore": True, "cursor": names[limit - 1]}
        return v2_data(
            [objects[name] for name in names[:limit]],
            now_ms=self._context.runtime.now_ms(),
            page=page,
        )
