"""The ways to an app: its latest registration over HTTP, and its latest one over Connect.

An app may have both at once. Neither registration replaces the other: the app's functions are
those that either lists, each with the configuration that was registered last. A function that
none of them lists any more is archived; its runs end where they can.
Source: docs/reference/wire/registration.md, "two transports".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from stepwell.engine.rows import DeleteTransport, PutTransport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.rows import PutApp, Write
    from stepwell.wire.function_config import FunctionConfig
    from stepwell.wire.functions import Registration

Method: TypeAlias = Literal["connect", "serve"]

METHODS: tuple[Method, ...] = ("connect", "serve")


class Transport(msgspec.Struct, frozen=True, kw_only=True):
    """One way to an app. `urls` has, by function, where its calls go over HTTP; empty over
    Connect."""

    row: PutTransport
    urls: dict[str, str]


class Transports:
    """By app and method."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], Transport] = {}

    def load(self, rows: Iterable[PutTransport]) -> None:
        """Fill it from its rows."""
        for row in rows:
            self._keep(row)

    def load_older(self, app: PutApp, functions: Iterable[FunctionEntry]) -> None:
        """An app that was stored when there was one way to each: it has no rows here yet."""
        if any(self.of(app.name, method) for method in METHODS):
            return
        urls = {
            entry.slug: "" if entry.config.on_connect else entry.config.url for entry in functions
        }
        self._keep(
            PutTransport(
                app_name=app.name,
                method="connect" if app.method == "connect" else "serve",
                url=app.url,
                sdk=app.sdk,
                framework=app.framework,
                app_version=app.app_version,
                checksum=app.checksum,
                synced_at_ms=app.synced_at_ms,
                functions=msgspec.json.encode(urls),
            )
        )

    def of(self, app_name: str, method: Method) -> PutTransport | None:
        """An app's latest registration of this kind."""
        found = self._all.get((app_name, method))
        return None if found is None else found.row

    def all(self) -> list[PutTransport]:
        """Every way to every app, by app and method."""
        return [self._all[key].row for key in sorted(self._all)]

    def served(self) -> list[PutTransport]:
        """All that are called over HTTP, by app."""
        return [row for row in self.all() if row.method == "serve"]

    def lists(self, app_name: str, slug: str, *, by: Method | None = None) -> bool:
        """Whether a registration, or one of this kind, lists a function."""
        return any(
            slug in found.urls
            for method in (METHODS if by is None else (by,))
            if (found := self._all.get((app_name, method))) is not None
        )

    def url(self, app_name: str, config: FunctionConfig) -> str | None:
        """Where a function's calls go over HTTP, None if they cannot.

        What no registration lists is called where it was last: its runs have to end.
        """
        found = self._all.get((app_name, "serve"))
        url = None if found is None else found.urls.get(config.slug)
        if url:
            return url
        if config.on_connect or self.lists(app_name, config.slug):
            return None
        return config.url

    def put(self, registration: Registration, now_ms: int) -> list[Write]:
        """A registration is in force; returns the rows of the app's transports.

        All of them: that of an app which was stored before there were such rows has none.
        """
        urls = {config.slug: _http_url(registration, config) for config in registration.functions}
        self._keep(
            PutTransport(
                app_name=registration.app_name,
                method=registration.method,
                url=registration.url,
                sdk=registration.sdk,
                framework=registration.framework,
                app_version=registration.app_version,
                checksum=registration.checksum,
                synced_at_ms=now_ms,
                functions=msgspec.json.encode(urls),
            )
        )
        return [row for method in METHODS if (row := self.of(registration.app_name, method))]

    def remove(self, app_name: str, method: Method) -> list[Write]:
        """Forget one way to an app; returns its row, none if there was none."""
        if self._all.pop((app_name, method), None) is None:
            return []
        return [DeleteTransport(app_name=app_name, method=method)]

    def forget_checksum(self, row: PutTransport) -> list[Write]:
        """Have the next registration of this kind count as new; returns its row."""
        row = msgspec.structs.replace(row, checksum="")
        self._keep(row)
        return [row]

    def _keep(self, row: PutTransport) -> None:
        self._all[row.app_name, row.method] = Transport(row=row, urls=_URLS.decode(row.functions))


def _http_url(registration: Registration, config: FunctionConfig) -> str:
    return "" if registration.method == "connect" or config.on_connect else config.url


_URLS = msgspec.json.Decoder(dict[str, str])
