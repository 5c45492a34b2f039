"""`GET` and `PUT /v2/apps/{app}/routes`, `PUT .../functions/{function}/route` and
`DELETE .../transports/{transport}`: which way calls go.

Source: docs/reference/http-api.md, "Routes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from stepwell.errors import WireError
from stepwell.server.api.bodies import read_body
from stepwell.server.api.functions import bare_id, matches
from stepwell.server.api.responses import iso, v2_data, without_empty
from stepwell.server.api.rest_v2.paths import both
from stepwell.wire.json import decode_with
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from stepwell.server.api.context import Context
    from stepwell.server.runtime import FunctionEntry

BODY_BYTES_MAX: Final = 4_096
ALL: Final = ""
"""The slug of what holds for a whole app."""

_METHODS: Final[dict[str, Literal["connect", "serve"]]] = {"connect": "connect", "http": "serve"}


class _Choice(msgspec.Struct, rename="camel"):
    """What is left out stays as it is; null takes it back."""

    connect_percent: int | msgspec.UnsetType | None = msgspec.UNSET
    pin: str | msgspec.UnsetType | None = msgspec.UNSET


_CHOICE = msgspec.json.Decoder(_Choice)


class RouteChoices:
    """Routes, and the transports among which they choose. All is durable when it answers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            *both("/apps/{app}/routes", self.shown),
            *both("/apps/{app}/routes", self.choose_for_app, "PUT"),
            *both("/apps/{app}/functions/{function}/route", self.choose_for_function, "PUT"),
            *both("/apps/{app}/transports/{transport}", self.forget, "DELETE"),
        ]

    async def shown(self, request: Request) -> Response:
        """What was chosen, what holds for each function, and who is there to take its calls."""
        return self._answer(self._app(request))

    async def choose_for_app(self, request: Request) -> Response:
        """For functions without a number of their own; takes effect with the next call.

        Raises:
            WireError: 404 for an unknown app, 400 for what is no choice.
        """
        app_name = self._app(request)
        choice = await self._choice(request)
        before = self._context.runtime.routes.row(app_name, ALL)
        pin = before is not None and before.pin
        if choice.pin is not msgspec.UNSET:
            if choice.pin not in (None, "version"):
                raise WireError(
                    f"pin is {quoted(choice.pin)}; it must be version or null",
                    code="invalid_field_format",
                )
            pin = choice.pin == "version"
        percent = choice.connect_percent
        if percent is msgspec.UNSET:
            percent = None if before is None else before.connect_percent
        await self._context.runtime.choose_route(app_name, ALL, connect_percent=percent, pin=pin)
        return self._answer(app_name)

    async def choose_for_function(self, request: Request) -> Response:
        """For one function, before what holds for its app. Raises as for an app."""
        app_name = self._app(request)
        name = request.path_params["function"]
        slug = next((each.slug for each in self._functions(app_name) if matches(each, name)), None)
        if slug is None:
            raise WireError("Function not found", code="not_found", status=404)
        choice = await self._choice(request)
        if choice.pin is not msgspec.UNSET:
            raise WireError(
                "pin is chosen for a whole app, not for one function", code="invalid_field_format"
            )
        if choice.connect_percent is not msgspec.UNSET:
            await self._context.runtime.choose_route(
                app_name, slug, connect_percent=choice.connect_percent
            )
        return self._answer(app_name)

    async def forget(self, request: Request) -> Response:
        """Forget the app's registration over one transport; with the last one the app is gone.

        Raises:
            WireError: 404 for an app that has no such registration.
        """
        app_name = self._app(request)
        method = _METHODS.get(request.path_params["transport"])
        runtime = self._context.runtime
        if method is None or not await runtime.remove_app(app_name, method):
            raise WireError(
                f"the app {app_name} is not registered over {request.path_params['transport']}; "
                "transports are connect and http",
                code="not_found",
                status=404,
            )
        if method == "serve":
            self._context.app_book.removed(app_name)
        return self._answer(app_name)

    def _app(self, request: Request) -> str:
        name: str = request.path_params["app"]
        if name not in self._context.runtime.catalog.apps:
            raise WireError("App not found", code="not_found", status=404)
        return name

    def _functions(self, app_name: str) -> list[FunctionEntry]:
        functions = self._context.runtime.catalog.functions
        found = [entry for entry in functions if entry.app_name == app_name]
        return sorted(found, key=lambda entry: entry.slug)

    async def _choice(self, request: Request) -> _Choice:
        body = await read_body(
            request.receive,
            dict(request.scope["headers"]),
            bytes_max=BODY_BYTES_MAX,
            timeout_s=self._context.body_timeout_s,
        )
        choice = decode_with(_CHOICE, body)
        percent = choice.connect_percent
        if isinstance(percent, int) and not 0 <= percent <= 100:
            raise WireError(
                f"connectPercent is {percent}; it must be from 0 to 100, or null",
                code="invalid_field_format",
            )
        return choice

    def _answer(self, app_name: str) -> Response:
        chosen = self._context.runtime.routes.row(app_name, ALL)
        data = {
            "app": {"id": app_name},
            "connectPercent": None if chosen is None else chosen.connect_percent,
            "pin": "version" if chosen is not None and chosen.pin else None,
            "transports": self._transports(app_name),
            "functions": [self._function(entry) for entry in self._functions(app_name)],
        }
        return v2_data(data, now_ms=self._context.runtime.now_ms())

    def _transports(self, app_name: str) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = []
        transports = self._context.runtime.catalog.transports
        for name, method in _METHODS.items():
            row = transports.of(app_name, method)
            if row is None:
                continue
            about: dict[str, Any] = {
                "transport": name,
                "appVersion": row.app_version,
                "syncedAt": iso(row.synced_at_ms),
            }
            if method == "serve":
                about["url"] = row.url
                trouble = self._context.app_book.trouble(app_name=app_name, url=row.url)
                about["error"] = None if trouble is None else trouble.text
            shown.append(without_empty(about))
        return shown

    def _function(self, entry: FunctionEntry) -> dict[str, Any]:
        """`chosenFor` tells where its number comes from: the function, its app, or nowhere."""
        runtime = self._context.runtime
        own = runtime.routes.row(entry.app_name, entry.slug)
        percent = runtime.routes.of(entry.no).connect_percent
        source = None if percent is None else "app" if own is None else "function"
        workers, urls = runtime.takers(entry.app_name, entry.slug)
        return {
            "slug": bare_id(entry),
            "connectPercent": percent,
            "chosenFor": source,
            "workers": workers,
            "url": entry.http_url,
            "takesHttp": urls > 0,
        }
