"""`GET /v2/account`, `/v2/envs` and `/v2/keys/...`: there is one of each, and its keys.

Source: docs/reference/http-api.md, "REST v2".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepwell.server.api.responses import v2_data
from stepwell.server.api.rest_v2.paths import both
from stepwell.wire.ids import ACCOUNT_ID, ENVIRONMENT_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from stepwell.server.api.context import Context

ENVIRONMENT: Final = "dev"
"""Its name in v2, in every mode."""

LIMITS: Final = {"envs": 250, "keys": 100}
_SHOWN_CHARS: Final = 4


class EnvironmentReads:
    """The one account and the one environment of a server."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            *both("/account", self.account),
            *both("/envs", self.environments),
            *both("/keys/events", self.event_keys),
            *both("/keys/signing", self.signing_keys),
        ]

    async def account(self, _request: Request) -> Response:
        return v2_data({"id": ACCOUNT_ID, "name": "Stepwell"}, now_ms=self._now_ms())

    async def environments(self, _request: Request) -> Response:
        kind = "PRODUCTION" if self._context.settings.mode == "start" else "DEVELOPMENT"
        shown = {"id": ENVIRONMENT_ID, "name": ENVIRONMENT, "type": kind}
        return self._page([shown], LIMITS["envs"])

    async def event_keys(self, _request: Request) -> Response:
        """Whole: whoever may read this sends events with them."""
        return self._keys("event key", self._context.settings.event_keys)

    async def signing_keys(self, _request: Request) -> Response:
        """Their ends alone: they open everything."""
        keys = self._context.settings.signing_keys
        return self._keys("signing key", [f"...{key[-_SHOWN_CHARS:]}" for key in keys])

    def _keys(self, what: str, keys: Sequence[str]) -> Response:
        shown = [
            {
                "id": f"{what.partition(' ')[0]}-{number}",
                "name": f"{what} {number}",
                "environment": ENVIRONMENT,
                "key": key,
            }
            for number, key in enumerate(keys, 1)
        ]
        return self._page(shown, LIMITS["keys"])

    def _page(self, shown: list[dict[str, Any]], limit: int) -> Response:
        return v2_data(shown, now_ms=self._now_ms(), page={"limit": limit})

    def _now_ms(self) -> int:
        return self._context.runtime.now_ms()
