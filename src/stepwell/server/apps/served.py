"""All that a server does with apps that are served over HTTP, as one component."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from stepwell.server.apps.keeper import AppKeeper
from stepwell.server.apps.sync import Syncer
from stepwell.server.dispatch.http_driver import HttpDriver
from stepwell.server.outbound import APPS, OutboundClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.server.app_book import AppBook
    from stepwell.server.runtime import Runtime
    from stepwell.server.settings import Settings


class ServedApps:
    """Calls apps and keeps them in sync while the context is open.

    Args:
        own_ports: Of this server.
    """

    def __init__(
        self, *, runtime: Runtime, settings: Settings, book: AppBook, own_ports: Sequence[int]
    ) -> None:
        self._runtime = runtime
        self._book = book
        self._drain_wait_s = settings.connect_drain_wait_ms / 1000
        self._client = OutboundClient(APPS, keeps_all=True)
        self._driver = HttpDriver(
            desk=runtime,
            client=self._client,
            book=book,
            signing_keys=settings.signing_keys,
            calls_max=settings.http_calls_max,
            timeout_s=settings.http_timeout_ms / 1000,
            lease_ms=settings.connect_lease_ms,
        )
        self._syncer = Syncer(
            runtime=runtime,
            client=self._client,
            book=book,
            signing_keys=settings.signing_keys,
            server_kind=settings.server_kind,
        )
        self._keeper = AppKeeper(
            runtime=runtime,
            settings=settings,
            book=book,
            syncer=self._syncer,
            client=self._client,
            own_ports=own_ports,
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> ServedApps:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._client.close)
            await stack.enter_async_context(self._driver)
            self._runtime.on_catalog_change(self._driver.refresh)
            self._book.on_return(self._driver.refresh)
            await stack.enter_async_context(self._keeper)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    async def sync(self, url: str) -> bool:
        """Sync the app at this URL now; whether that went well."""
        return await self._syncer.sync(url)

    def begin_drain(self) -> None:
        """Give no more calls to apps."""
        self._driver.begin_drain()

    async def drained(self) -> None:
        """Wait until apps have answered, as long as the settings allow."""
        await self._driver.drained(self._drain_wait_s)
