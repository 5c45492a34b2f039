"""Which way a call goes: over a worker's connection or over HTTP, and to which version of its app.

Decided here and nowhere else. Without a route a call goes over Connect when a worker has a free
slot, else over HTTP. A route says how many of a hundred runs go over Connect: which ones follows
from the run's id, so a run keeps its transport, and raising the number moves runs one way only. 0
and 100 are kept to whatever happens: what cannot go waits. With a number between, and without a
route, a call that cannot go its own way goes the other one: a function's queue then never stands
still behind a run while somebody could take it.

Routes are rows, and take effect with the next call. Since when a version has been away is soft
state: after a restart its runs wait for it as long again.
Source: docs/reference/wire/connect.md, "routing".
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from stepwell.engine.rows import DeleteRoute, PutRoute
from stepwell.engine.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.rows import Write
    from stepwell.engine.workers import Connection, Workers
    from stepwell.wire.ids import RunId

ALL_FUNCTIONS = ""
"""The slug of an app's own route, which counts for its functions that have none."""

ABSENT_VERSIONS_MAX = 1_000
"""Versions that are remembered as away; of more, the first are forgotten and wait anew."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a function. `connect_percent` is None for the default."""

    connect_percent: int | None = None
    pin: bool = False


DEFAULT: Final = Route()


class Routes:
    """What operators chose, by app and function."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], PutRoute] = {}
        self._by_no: dict[int, Route] = {}

    def load(self, rows: Iterable[PutRoute], entries: Iterable[FunctionEntry]) -> None:
        """Fill it from its rows."""
        self._rows = {(row.app_name, row.slug): row for row in rows}
        self.refresh(entries)

    def put(self, row: PutRoute) -> list[Write]:
        """Put a route in force, or take it away if it says nothing; `refresh` comes next.

        Returns:
            Its rows, none if it was in force.
        """
        key = (row.app_name, row.slug)
        if row.connect_percent is None and not row.pin:
            if self._rows.pop(key, None) is None:
                return []
            return [DeleteRoute(app_name=row.app_name, slug=row.slug)]
        if self._rows.get(key) == row:
            return []
        self._rows[key] = row
        return [row]

    def refresh(self, entries: Iterable[FunctionEntry]) -> None:
        """There are other routes, or other functions."""
        self._by_no = {}
        for entry in entries if self._rows else ():
            route = self.of_name(entry.app_name, entry.slug)
            if route != DEFAULT:
                self._by_no[entry.no] = route

    def of(self, function_no: int) -> Route:
        """What holds for a function. Asked with each call."""
        return self._by_no.get(function_no, DEFAULT)

    def of_name(self, app_name: str, slug: str) -> Route:
        """What holds for a function: its own number before its app's."""
        app, own = self.row(app_name, ALL_FUNCTIONS), self.row(app_name, slug)
        percent = None if own is None else own.connect_percent
        if percent is None and app is not None:
            percent = app.connect_percent
        return Route(connect_percent=percent, pin=app is not None and app.pin)

    def row(self, app_name: str, slug: str) -> PutRoute | None:
        """What was chosen for exactly this."""
        return self._rows.get((app_name, slug))


class Router:
    """Picks the connection for each call.

    Args:
        pin_wait_ms: How long a run waits for its version while none of it is connected.
    """

    def __init__(self, *, workers: Workers, routes: Routes, pin_wait_ms: int) -> None:
        self._workers = workers
        self._routes = routes
        self._pin_wait_ms = pin_wait_ms
        self._absent_since: OrderedDict[tuple[int, str], int] = OrderedDict()
        self.wakeup_ms: int | None = None
        """When some run that was passed over since this was set to None waits no longer."""

    def pick(self, function_no: int, run_id: RunId, version: str, now_ms: int) -> Connection | None:
        """The connection that gets a run's call, None if it has to wait.

        Args:
            version: To which the run is pinned; empty for none.
        """
        workers = self._workers
        route = self._routes.of(function_no)
        if version and route.pin and not self._may_go_anywhere(function_no, version, now_ms):
            return workers.pick(function_no, version)
        percent = route.connect_percent
        if percent == 0:
            return workers.pick_http(function_no)
        if percent == 100:
            return workers.pick(function_no)
        if percent is None or goes_over_connect(run_id, percent):
            return workers.pick(function_no) or workers.pick_http(function_no)
        return workers.pick_http(function_no) or workers.pick(function_no)

    def waiting(self, function_no: int, slug: str, version: str) -> Waiting:
        """What a call of a function that is queued waits for."""
        route = self._routes.of(function_no)
        serving = self._workers.serving(function_no)
        if version and route.pin and not self._workers.has_version(function_no, version):
            since_ms = self._absent_since.get((function_no, version))
            return Waiting(
                reason="no_version",
                until_ms=None if since_ms is None else since_ms + self._pin_wait_ms,
                text=f"it is pinned to version {version} of its app, and no connected worker has "
                "that",
            )
        over = route.connect_percent
        if over == 0 and (serving is None or not serving.http):
            text = f"its route allows HTTP alone, and no URL is there now to call {slug} at"
            return Waiting(reason="no_url", until_ms=None, text=text)
        if serving is None or (over == 100 and not serving.versions):
            text = f"no connected worker has {slug}"
            if over == 100:
                text = f"its route allows Connect alone, and {text}"
            return Waiting(reason="no_worker", until_ms=None, text=text)
        text = f"every worker that has {slug} has as many calls as it takes"
        if over == 0:
            text = f"the app at the URL of {slug} has as many calls as it takes"
        return Waiting(reason="no_capacity", until_ms=None, text=text)

    def shift(self, ms: int) -> None:
        """The clock was set forward by so much: nobody had that time to come back."""
        for key in self._absent_since:
            self._absent_since[key] += ms

    def _may_go_anywhere(self, function_no: int, version: str, now_ms: int) -> bool:
        """Whether a version has been away for so long that its runs wait no more."""
        key = (function_no, version)
        if self._workers.has_version(function_no, version):
            self._absent_since.pop(key, None)
            return False
        since_ms = self._absent_since.setdefault(key, now_ms)
        if len(self._absent_since) > ABSENT_VERSIONS_MAX:
            self._absent_since.popitem(last=False)
        ends_ms = since_ms + self._pin_wait_ms
        if now_ms >= ends_ms:
            return True
        if self.wakeup_ms is None or ends_ms < self.wakeup_ms:
            self.wakeup_ms = ends_ms
        return False


def goes_over_connect(run_id: RunId, percent: int) -> bool:
    """Whether a run is among this share of all runs; one that is stays so in a larger share."""
    return crc32(run_id) % 100 < percent
