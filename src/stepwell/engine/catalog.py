"""Apps and functions: what was registered, and which functions an event starts.

The last registration wins for each transport of an app, and an app may have two (see
`transports`). A run is not bound to the version it began with, unless a route pins it.
Source: docs/reference/wire/registration.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.cron import parse_cron
from stepwell.engine.rows import PutApp, PutFunction
from stepwell.engine.transports import METHODS, Transports
from stepwell.errors import WireError
from stepwell.expressions import Policy, compile_expression
from stepwell.wire.function_config import function_invalid
from stepwell.wire.functions import Equality, FunctionConfig, parse_equality, parse_function
from stepwell.wire.ids import app_uuid, function_uuid
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    from stepwell.engine.rows import PutTransport, Write
    from stepwell.engine.transports import Method
    from stepwell.expressions import Expression
    from stepwell.wire.functions import Registration

    Condition: TypeAlias = Equality | Expression | None
    EventOf: TypeAlias = Callable[[], Mapping[str, Any]]

REMOVED = "removed"
"""The method of an app that was taken out of the list: its row stays, for its runs."""

_IDS = frozenset({("function_id",), ("run_id",)})


def check_registration(registration: Registration) -> None:
    """Refuse what can be read and means nothing: expressions and schedules.

    Raises:
        WireError: `function_invalid`, with the place in the text.
    """
    for function in registration.functions:
        where = f" {quoted(function.slug)}"
        try:
            for trigger in function.triggers:
                if trigger.cron is not None:
                    parse_cron(trigger.cron)
                elif trigger.expression is not None:
                    _check_condition(trigger.expression)
            for cancel in function.cancels:
                if cancel.expression is not None:
                    compile_expression(cancel.expression, policy=Policy.RESTRICTED)
        except WireError as error:
            raise function_invalid(where, error.message) from error


def _check_condition(text: str) -> None:
    if "async" in compile_expression(text).names():
        raise WireError(
            f"the expression {quoted(text)} of a trigger names `async`, which is what arrives "
            "later, for a wait or a cancellation; a trigger's own event is `event`"
        )


class FunctionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A registered function. `no` is its number in rows and never changes.

    `http_url` is where its calls go over HTTP, None if they do not.
    """

    no: int
    function_id: str
    app_name: str
    slug: str
    version: int
    config: FunctionConfig
    created_at_ms: int
    archived_at_ms: int | None = None
    http_url: str | None = None

    @property
    def app_id(self) -> str:
        """The id of its app."""
        return app_uuid(self.app_name)

    @property
    def max_attempts(self) -> int:
        """How often a call may be tried."""
        return self.config.retries + 1


class Catalog:
    """All apps and functions in memory: they are few."""

    def __init__(self) -> None:
        self.apps: dict[str, PutApp] = {}
        """As they registered last, by either transport."""
        self.transports = Transports()
        self._by_no: dict[int, FunctionEntry] = {}
        self._by_slug: dict[tuple[str, str], FunctionEntry] = {}
        self._index = _TriggerIndex(())

    def load(
        self,
        apps: Iterable[PutApp],
        functions: Iterable[PutFunction],
        transports: Iterable[PutTransport] = (),
    ) -> None:
        """Fill an empty catalog from its rows."""
        self.apps = {app.name: app for app in apps if app.method != REMOVED}
        self.transports.load(transports)
        for row in functions:
            self._keep(
                FunctionEntry(
                    no=row.no,
                    function_id=row.function_id,
                    app_name=row.app_name,
                    slug=row.slug,
                    version=row.version,
                    config=parse_function(row.config),
                    created_at_ms=row.created_at_ms,
                    archived_at_ms=row.archived_at_ms,
                )
            )
        for app in self.apps.values():
            self.transports.load_older(app, self._of(app.name))
        for app_name in sorted({entry.app_name for entry in self._by_no.values()}):
            self._find_urls(app_name)
        self._index = _TriggerIndex(self.functions)

    @property
    def functions(self) -> list[FunctionEntry]:
        """The functions that events may start, by number."""
        return [entry for entry in self._by_no.values() if entry.archived_at_ms is None]

    @property
    def startable(self) -> int:
        """How many functions there are that events may start."""
        return self._index.functions

    @property
    def all_functions(self) -> list[FunctionEntry]:
        """Every function that was ever registered, archived ones too, by number."""
        return list(self._by_no.values())

    def by_no(self, no: int) -> FunctionEntry | None:
        """The function with this number, archived or not."""
        return self._by_no.get(no)

    def by_slug(self, *, app_name: str, slug: str) -> FunctionEntry | None:
        """The function of this name, archived or not."""
        return self._by_slug.get((app_name, slug))

    def named(self, name: str) -> FunctionEntry | None:
        """The function that a program means by a slug or a function's id; no archived one."""
        for entry in self._by_no.values():
            if name in (entry.slug, entry.function_id) and entry.archived_at_ms is None:
                return entry
        return None

    def started_by(self, name: str, event: EventOf, now_ms: int) -> list[FunctionEntry]:
        """The functions that an event starts, each once, by number.

        Args:
            event: Gives the decoded event; called once at most, if a condition needs it.
        """
        return self._index.find(name, event, now_ms)

    def asks_more_than_ids(self, name: str) -> bool:
        """Whether some trigger for this event, or a cancellation of what it starts, has a
        condition on more of its data than the ids of function and run."""
        return any(
            not (condition is None or (isinstance(condition, Equality) and condition.path in _IDS))
            or any(cancel.expression is not None for cancel in entry.config.cancels)
            for entry, condition in self._index.of_name(name)
        )

    def register(self, registration: Registration, now_ms: int) -> list[Write]:
        """Put a sync in force; returns its rows, none if the app already has this configuration
        on this transport."""
        before = self.transports.of(registration.app_name, registration.method)
        if before is not None and before.checksum == registration.checksum:
            return []
        row = PutApp(
            name=registration.app_name,
            app_id=app_uuid(registration.app_name),
            url=registration.url,
            sdk=registration.sdk,
            framework=registration.framework,
            app_version=registration.app_version,
            checksum=registration.checksum,
            method=registration.method,
            synced_at_ms=now_ms,
        )
        self.apps[row.name] = row
        writes: list[Write] = [row, *self.transports.put(registration, now_ms)]
        writes += self._archive_unlisted(row.name, now_ms)
        for config in registration.functions:
            known = self._by_slug.get((row.name, config.slug))
            writes.append(self._keep(self._next(row.name, config, known, now_ms)))
        self._find_urls(row.name)
        self._index = _TriggerIndex(self.functions)
        return writes

    def remove(self, app_name: str, now_ms: int, method: Method | None = None) -> list[Write]:
        """Take an app out of the list; no event starts its functions any more. Runs go on.

        Args:
            method: Only this way to it. If there is another, the app stays, with its functions.
        Returns:
            Its rows, none if there is no such app, or no such way to it.
        """
        app = self.apps.get(app_name)
        if app is None or (method is not None and not self.transports.of(app_name, method)):
            return []
        writes: list[Write] = []
        for each in METHODS if method is None else (method,):
            writes += self.transports.remove(app_name, each)
        left = next(
            (other for each in METHODS if (other := self.transports.of(app_name, each))), None
        )
        if left is None:
            del self.apps[app_name]
            row = msgspec.structs.replace(app, method=REMOVED, checksum="", synced_at_ms=now_ms)
        else:
            # Its next sync counts as new: what was last said of a function may have been the
            # other registration's.
            writes += self.transports.forget_checksum(left)
            row = self.apps[app_name] = msgspec.structs.replace(
                app,
                url=left.url,
                sdk=left.sdk,
                framework=left.framework,
                app_version=left.app_version,
                checksum="",
                method=left.method,
                synced_at_ms=left.synced_at_ms,
            )
        writes += [row, *self._archive_unlisted(app_name, now_ms)]
        self._find_urls(app_name)
        self._index = _TriggerIndex(self.functions)
        return writes

    def _archive_unlisted(self, app_name: str, now_ms: int) -> list[Write]:
        """What no registration lists any more is started by nothing."""
        return [
            self._keep(msgspec.structs.replace(entry, archived_at_ms=now_ms))
            for entry in self._of(app_name)
            if not self.transports.lists(app_name, entry.slug)
        ]

    def _of(self, app_name: str) -> list[FunctionEntry]:
        return [entry for entry in self.functions if entry.app_name == app_name]

    def _find_urls(self, app_name: str) -> None:
        """Note where the functions of an app are called over HTTP. No row tells: it follows."""
        for entry in self.all_functions:
            if entry.app_name == app_name:
                url = self.transports.url(app_name, entry.config)
                if url != entry.http_url:
                    self._keep(msgspec.structs.replace(entry, http_url=url))

    def _next(
        self, app_name: str, config: FunctionConfig, before: FunctionEntry | None, now_ms: int
    ) -> FunctionEntry:
        if before is not None:
            return msgspec.structs.replace(
                before, config=config, version=before.version + 1, archived_at_ms=None
            )
        return FunctionEntry(
            no=max(self._by_no, default=0) + 1,
            function_id=function_uuid(app_name, config.slug),
            app_name=app_name,
            slug=config.slug,
            version=1,
            config=config,
            created_at_ms=now_ms,
        )

    def _keep(self, entry: FunctionEntry) -> PutFunction:
        self._by_no[entry.no] = entry
        self._by_slug[entry.app_name, entry.slug] = entry
        return PutFunction(
            no=entry.no,
            function_id=entry.function_id,
            app_name=entry.app_name,
            slug=entry.slug,
            version=entry.version,
            config=bytes(entry.config.raw),
            created_at_ms=entry.created_at_ms,
            archived_at_ms=entry.archived_at_ms,
        )


class _TriggerIndex:
    """From an event's name to the functions that it starts.

    A name is looked up whole, and once for each of its delimiters: `a/b.c` is matched by the
    triggers `a/b.c`, `a/*` and `a/b.*`.
    """

    def __init__(self, entries: Iterable[FunctionEntry]) -> None:
        self._exact: dict[str, list[tuple[FunctionEntry, Condition]]] = {}
        self._prefix: dict[str, list[tuple[FunctionEntry, Condition]]] = {}
        self.functions = 0
        for entry in entries:
            self.functions += 1
            for trigger in entry.config.triggers:
                if trigger.event is None:
                    continue
                condition = _condition(trigger.expression)
                if trigger.event.endswith(("/*", ".*")):
                    self._prefix.setdefault(trigger.event[:-1], []).append((entry, condition))
                else:
                    self._exact.setdefault(trigger.event, []).append((entry, condition))

    def of_name(self, name: str) -> list[tuple[FunctionEntry, Condition]]:
        """The triggers for events of this name."""
        found = list(self._exact.get(name, ()))
        if self._prefix:
            for end, char in enumerate(name, 1):
                if char in "/.":
                    found += self._prefix.get(name[:end], ())
        return found

    def find(self, name: str, event: EventOf, now_ms: int) -> list[FunctionEntry]:
        matched: dict[int, FunctionEntry] = {}
        value: Mapping[str, Any] | None = None
        for entry, condition in self.of_name(name):
            if condition is not None and entry.no not in matched:
                if value is None:
                    value = event()
                if not _holds(condition, value, now_ms):
                    continue
            matched[entry.no] = entry
        return [matched[no] for no in sorted(matched)] if len(matched) > 1 else [*matched.values()]


def _condition(expression: str | None) -> Condition:
    if expression is None:
        return None
    return parse_equality(expression) or compile_expression(expression)


def _holds(condition: Equality | Expression, event: Mapping[str, Any], now_ms: int) -> bool:
    if not isinstance(condition, Equality):
        return condition.matches({"event": event}, now_ms=now_ms)
    value: Any = event["data"]
    for key in condition.path:
        if not isinstance(value, dict):
            return False
        value = value.get(key)
    return isinstance(value, str) and value == condition.value
