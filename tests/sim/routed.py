"""Routes that somebody chooses while all goes on, and the versions of workers: invariant 27.

Its chances are its own, so that a seed's other faults are the same with it and without it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from stepwell.engine.effects import Dispatch
from stepwell.engine.leases import HTTP_INSTANCES
from stepwell.engine.rows import DeleteRoute, PutRoute
from stepwell.engine.workers import is_http

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stepwell.engine.effects import Order
    from stepwell.engine.partition import Partition
    from stepwell.engine.rows import Write
    from tests.sim.world import World

LAST_MS = 14_000
"""When the last route is taken back: what waits for nobody goes on from there."""

AGAIN_MS = 500
"""So long after a choice that was not stored it is made again."""


class Routed:
    """Who chooses routes, and which workers have which version.

    Args:
        app: Whose functions are routed.
    """

    def __init__(self, world: World, app: str) -> None:
        self._world = world
        self._app = app
        self._random = random.Random(f"routes of {world.seed}")
        self.is_at_work = self._random.random() < 0.4
        self.pin_wait_ms = self._random.choice((300, 2_000, 8_000))
        self._http = self._random.choice((True, False)) if self.is_at_work else False
        self._chosen: tuple[int | None, bool] = (None, False)

    def name_of(self, number: int) -> str:
        """What the worker of this number is called: maybe it is an app on a host."""
        is_http = self._http and number == 1
        return f"{HTTP_INSTANCES}w{number}" if is_http else f"w{number}"

    def versions(self, name: str, process: int) -> Mapping[str, str]:
        """What a worker's process has: a version comes back with the process after the next."""
        if not self.is_at_work or name.startswith(HTTP_INSTANCES):
            return {}
        return {self._app: f"v{process % 2}"}

    def start(self) -> None:
        """Begin to choose."""
        if not self.is_at_work:
            return
        for _ in range(self._random.randint(1, 4)):
            percent = self._random.choice((None, 0, 30, 60, 100))
            pin = self._random.random() < 0.6
            self._world.later(
                self._random.randint(0, LAST_MS - 2_000),
                f"route {percent} {pin}",
                lambda percent=percent, pin=pin: self._choose(percent, pin=pin),  # type: ignore[misc]
            )
        pin = self._random.random() < 0.5
        self._world.later(LAST_MS, f"route None {pin}", lambda: self._choose(None, pin=pin))

    def _choose(self, percent: int | None, *, pin: bool) -> None:
        world = self._world
        self._chosen = percent, pin

        def again() -> None:
            if self._chosen == (percent, pin):
                self._choose(percent, pin=pin)

        def answer(stored: object) -> None:
            if self._chosen != (percent, pin):
                return  # somebody chose another one meanwhile
            if stored is None:
                world.later(AGAIN_MS, "route again", again)
            else:
                world.count["route chosen"] += 1

        world.server.choose_route(self._app, percent, pin=pin, answer=answer)


class Routes:
    """The routes as the commits leave them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], PutRoute] = {}

    def take(self, writes: Iterable[Write]) -> None:
        """Apply a commit."""
        for row in writes:
            if isinstance(row, PutRoute):
                self.rows[row.app_name, row.slug] = row
            elif isinstance(row, DeleteRoute):
                del self.rows[row.app_name, row.slug]


def check_routes(routes: Routes, partition: Partition) -> None:
    """27: memory has the routes of the rows."""
    assert partition.routes._rows == routes.rows, "27: memory has the routes that there are"


def check_ways(partition: Partition, effects: Iterable[Order]) -> int:
    """27, as calls are given out; how many of them went as a route wants it."""
    routed = 0
    for call in effects:
        if not isinstance(call, Dispatch):
            continue
        route = partition.routes.of(call.function_no)
        connection = partition.workers._connections.get(call.connection_id)
        run = partition.runs.get(call.run_id)
        if connection is None or run is None:
            continue
        over_http = is_http(connection)
        version = run.state.pin if route.pin else ""
        is_there = partition.workers.has_version(call.function_no, version)
        if version and is_there:
            theirs = connection.versions.get(call.function_no)
            assert theirs == version, "27: a pinned run stays with its version while it is there"
        elif route.connect_percent in (0, 100):
            wrong = over_http is (route.connect_percent == 100)
            assert not wrong, "27: a call goes the only way that its route allows"
        routed += bool(version) or route.connect_percent is not None
    return routed
