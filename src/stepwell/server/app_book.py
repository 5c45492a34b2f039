"""The book of served apps: where they are, and what is wrong with them.

Written by those who call and sync apps, read by the API and the command line. It is soft state: a
restart begins with an empty book, and soon knows again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from stepwell.wire.app_urls import normal_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TEXT_CHARS_MAX = 1_000

_log = logging.getLogger(__name__)


class AppTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with an app.

    Attributes:
        reason: A word for programs, such as `unreachable` or `unauthorized`.
        text: What was seen, and where.
        since_ms: Since when it was seen without a success in between.
    """

    reason: str
    text: str
    since_ms: int


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that was named as an app's.

    Attributes:
        app_name: None until an app has said that it is there.
        done: A sync went well.
    """

    url: str
    app_name: str | None = None
    done: bool = False
    trouble: AppTrouble | None = None


class AppBook:
    """Sites by URL, in the order they were named, and trouble with calls by app."""

    def __init__(self) -> None:
        self._sites: dict[str, Site] = {}
        self._calls: dict[str, AppTrouble] = {}
        self._listeners: list[Callable[[], None]] = []

    # --- reading ---

    @property
    def sites(self) -> Iterable[Site]:
        """All of them."""
        return list(self._sites.values())

    def site(self, url: str) -> Site | None:
        """The site at this URL, however it is spelt."""
        return self._sites.get(normal_url(url))

    def trouble(self, *, app_name: str, url: str) -> AppTrouble | None:
        """What is wrong with an app: what its calls met, else what its last sync met."""
        trouble = self._calls.get(app_name)
        if trouble is None and (site := self.site(url)) is not None:
            trouble = site.trouble
        return trouble

    def absent(self, app_name: str) -> AppTrouble | None:
        """Why this app cannot be called, if its last call found none."""
        return self._calls.get(app_name)

    # --- syncs ---

    def named(self, url: str) -> None:
        """Somebody says that an app is there. Idempotent."""
        url = normal_url(url)
        self._sites.setdefault(url, Site(url=url))

    def synced(self, url: str, app_name: str, *, functions: int) -> None:
        """An app that says it is at this URL is in force, with so many functions."""
        url = normal_url(url)
        site = self._sites.get(url)
        if site is not None and site.trouble is not None:
            _log.info(
                "the app syncs again: %s, with %d %s",
                app_name,
                functions,
                "function" if functions == 1 else "functions",
                extra={"url": url},
            )
        self._sites[url] = Site(url=url, app_name=app_name, done=True)
        self.call_answered(app_name)

    def sync_answered(self, url: str, app_name: str | None = None) -> None:
        """A sync of this site went well: `app_name` is what it said it was, if it did."""
        url = normal_url(url)
        site = self._sites.get(url) or Site(url=url)
        if site.trouble is not None:
            _log.info("the app answers again", extra={"url": url})
        name = app_name or site.app_name
        self._sites[url] = Site(url=url, app_name=name, done=True)
        if name is not None:
            self.call_answered(name)

    def sync_failed(self, url: str, *, reason: str, text: str, now_ms: int) -> None:
        """A sync of this site came to nothing."""
        url = normal_url(url)
        site = self._sites.get(url) or Site(url=url)
        trouble = _trouble(site.trouble, reason, text, now_ms)
        if site.trouble is None or site.trouble.reason != reason:
            _log.warning("cannot sync an app: %s", text, extra={"url": url, "reason": reason})
        self._sites[url] = msgspec.structs.replace(site, trouble=trouble)

    def removed(self, app_name: str) -> None:
        """The app is gone, and so are its sites."""
        self._calls.pop(app_name, None)
        for url in [url for url, site in self._sites.items() if site.app_name == app_name]:
            del self._sites[url]

    def forget(self, url: str) -> bool:
        """Nobody says any more that an app is there; whether somebody did."""
        return self._sites.pop(normal_url(url), None) is not None

    # --- calls ---

    def on_return(self, listener: Callable[[], None]) -> None:
        """Call this whenever an app that could not be called can be again."""
        self._listeners.append(listener)

    def call_failed(self, app_name: str, text: str, now_ms: int) -> None:
        """A call found no app."""
        before = self._calls.get(app_name)
        if before is None:
            _log.warning("cannot call an app: %s", text, extra={"app": app_name})
        self._calls[app_name] = _trouble(before, "unreachable", text, now_ms)

    def call_answered(self, app_name: str) -> None:
        """A call was answered, whatever the answer was."""
        if self._calls.pop(app_name, None) is not None:
            _log.info("the app can be called again", extra={"app": app_name})
            for listener in self._listeners:
                listener()


def _trouble(before: AppTrouble | None, reason: str, text: str, now_ms: int) -> AppTrouble:
    since_ms = before.since_ms if before is not None and before.reason == reason else now_ms
    return AppTrouble(reason=reason, text=text[:TEXT_CHARS_MAX], since_ms=since_ms)
