"""Keeps served apps in sync: those that were named, those that are found, those that are known.

In development every served app is asked again at each interval, so that an edit is in force
without a word; otherwise only those with which something is wrong.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from stepwell.server.apps.discovery import discover
from stepwell.wire.app_urls import normal_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.server.app_book import AppBook
    from stepwell.server.apps.sync import Syncer
    from stepwell.server.outbound import OutboundClient
    from stepwell.server.runtime import Runtime
    from stepwell.server.settings import Settings

SYNCS_MAX = 16
"""At the same time."""

_log = logging.getLogger(__name__)


class AppKeeper:
    """An async context manager: while it is open, apps are kept in sync.

    Args:
        client: For discovery; `syncer` has its own way.
        own_ports: Of this server, where no app is.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        settings: Settings,
        book: AppBook,
        syncer: Syncer,
        client: OutboundClient,
        own_ports: Sequence[int],
    ) -> None:
        self._runtime = runtime
        self._book = book
        self._syncer = syncer
        self._client = client
        self._own_ports = own_ports
        self._interval_s = settings.poll_interval_ms / 1000
        is_dev = settings.mode == "dev"
        self._polls_all = is_dev and not settings.no_poll
        self._discovers = is_dev and not settings.no_discovery
        self._room = asyncio.Semaphore(SYNCS_MAX)
        self._tasks = asyncio.TaskGroup()
        self._wanted = asyncio.Event()
        for url in settings.sdk_urls:
            book.named(url)

    async def __aenter__(self) -> AppKeeper:
        await self._tasks.__aenter__()
        self._runtime.on_catalog_change(self._wanted.set)
        self._task = self._tasks.create_task(self._keep(), name="stepwell-apps")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _keep(self) -> None:
        while True:
            try:
                await self._round()
            except Exception:
                _log.exception("cannot keep apps in sync")
            if self._is_at_rest():
                self._wanted.clear()
                await self._wanted.wait()
            await asyncio.sleep(self._interval_s)

    async def _round(self) -> None:
        if self._discovers and not self._runtime.catalog.apps:
            for url in await discover(self._client, without=self._own_ports):
                if self._book.site(url) is None:
                    _log.info("found an app", extra={"url": url})
                    self._book.named(url)
        async with asyncio.TaskGroup() as syncs:
            for url in self._due():
                syncs.create_task(self._sync(url), name=f"sync {url}")

    async def _sync(self, url: str) -> None:
        async with self._room:
            try:
                await self._syncer.sync(url)
            except Exception:
                _log.exception("cannot sync an app", extra={"url": url})

    def _due(self) -> list[str]:
        """URLs to sync now: all that are known, or those with which something is wrong."""
        urls = {site.url: site.trouble is not None or not site.done for site in self._book.sites}
        for app in self._runtime.catalog.transports.served():
            trouble = self._book.trouble(app_name=app.app_name, url=app.url)
            url = normal_url(app.url)
            urls[url] = urls.get(url, False) or trouble is not None
        return [url for url, is_wrong in urls.items() if is_wrong or self._polls_all]

    def _is_at_rest(self) -> bool:
        """Whether nothing will be due, or found, until the catalog changes."""
        if self._discovers and not self._runtime.catalog.apps:
            return False
        if self._runtime.catalog.transports.served():
            return False  # a call may find that something is wrong with it
        return not self._due()
