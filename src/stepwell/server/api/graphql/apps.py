"""Apps and functions as GraphQL shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.errors import WireError
from stepwell.wire.app_urls import normal_url
from stepwell.wire.function_config import RETRIES_DEFAULT
from stepwell.wire.ids import app_uuid

if TYPE_CHECKING:
    from stepwell.engine.rows import PutApp
    from stepwell.server.api.context import Context
    from stepwell.server.api.graphql.reading import Reading
    from stepwell.server.runtime import FunctionEntry


class App:
    """An app that has synced, or one that was taken out of the list and had runs."""

    autodiscovered = False

    def __init__(self, reading: Reading, name: str, row: PutApp | None) -> None:
        self._reading = reading
        self._row = row
        self.id = app_uuid(name)
        self.external_id = self.name = name
        language, _, version = (row.sdk if row else "").partition(":")
        self.sdk_language = language.removeprefix("inngest-")
        self.sdk_version = version
        self.framework = row.framework if row else None
        self.url = row.url if row else None
        self.checksum = row.checksum if row else None
        self.app_version = row.app_version if row else None
        self.method = "CONNECT" if row is not None and row.method == "connect" else "SERVE"

    @property
    def error(self) -> str | None:
        if self._row is None:
            return "the app is not registered any more"
        context = self._reading.context
        served = context.runtime.catalog.transports.of(self.name, "serve")
        if served is None:
            return None
        trouble = context.app_book.trouble(app_name=self.name, url=served.url)
        return None if trouble is None else trouble.text

    @property
    def connected(self) -> bool:
        if self._row is None or self._row.method != "connect":
            return self.error is None
        book = self._reading.context.book
        return any(info.is_live and self.name in info.app_names for info in book.list())

    @property
    def functions(self) -> list[Function]:
        functions = self._reading.context.runtime.catalog.functions
        return [
            Function(self._reading, entry) for entry in functions if entry.app_name == self.name
        ]

    @property
    def function_count(self) -> int:
        return len(self.functions)


class UnsyncedApp:
    """A place where an app is said to be, and none has synced yet."""

    sdk_language = sdk_version = ""
    framework = checksum = app_version = None
    connected = autodiscovered = False
    functions: tuple[Any, ...] = ()
    function_count = 0
    method = "SERVE"

    def __init__(self, url: str, error: str | None) -> None:
        self.id = app_uuid(url)
        self.external_id = self.name = self.url = url
        self.error = error


class Function:
    """A function, archived or not."""

    def __init__(self, reading: Reading, entry: FunctionEntry) -> None:
        self._reading = reading
        self._entry = entry
        self.id = entry.function_id
        self.name = entry.config.name
        self.slug = entry.slug
        self.url = entry.http_url or entry.config.url
        self.app_id = entry.app_id

    @property
    def config(self) -> str:
        return bytes(self._entry.config.raw).decode()

    @property
    def configuration(self) -> dict[str, Any]:
        config = self._entry.config
        return {
            "retries": {"value": config.retries, "is_default": config.retries == RETRIES_DEFAULT},
            "cancellations": [
                {"event": one.event, "timeout": one.timeout, "condition": one.expression}
                for one in config.cancels
            ],
        }

    @property
    def triggers(self) -> list[dict[str, str | None]]:
        return [
            {
                "type": "EVENT" if trigger.cron is None else "CRON",
                "value": trigger.event or trigger.cron,
                "condition": trigger.expression,
            }
            for trigger in self._entry.config.triggers
        ]

    @property
    def app(self) -> App:
        return app_named(self._reading, self._entry.app_name)


def app_named(reading: Reading, name: str) -> App:
    """The app of this name, in the list or not."""
    return App(reading, name, reading.context.runtime.catalog.apps.get(name))


def all_apps(reading: Reading) -> list[App | UnsyncedApp]:
    """By name; behind them places where no app has synced yet."""
    context = reading.context
    rows = context.runtime.catalog.apps
    synced = {normal_url(row.url) for row in context.runtime.catalog.transports.all()}
    apps: list[App | UnsyncedApp] = [App(reading, name, rows[name]) for name in sorted(rows)]
    apps += [
        UnsyncedApp(site.url, None if site.trouble is None else site.trouble.text)
        for site in context.app_book.sites
        if site.app_name not in rows and site.url not in synced
    ]
    return apps


def app_at(reading: Reading, url: str) -> App | UnsyncedApp:
    """The app that is at a URL, or what is known of the place."""
    context = reading.context
    wanted = normal_url(url)
    for served in context.runtime.catalog.transports.served():
        if normal_url(served.url) == wanted:
            return app_named(reading, served.app_name)
    site = context.app_book.site(url)
    trouble = None if site is None else site.trouble
    return UnsyncedApp(wanted, None if trouble is None else trouble.text)


def synced_app(context: Context, app_id: str) -> PutApp:
    """The app with this id.

    Raises:
        WireError: 404 `not_found`.
    """
    for row in context.runtime.catalog.apps.values():
        if app_id in (row.app_id, row.name):
            return row
    raise WireError(f"App not found: {app_id}", code="not_found", status=404)
