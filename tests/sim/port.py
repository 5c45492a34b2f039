"""The way from the server to one connection of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.calls import read_call
from tests.sim.invariants import check_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.server.runtime import MakeCall
    from stepwell.wire.ids import RequestId
    from tests.sim.calls import SentCall
    from tests.sim.server import Server
    from tests.sim.world import World


class Port:
    """The way to one connection: calls are made as they leave, at once or when there is room."""

    def __init__(
        self,
        world: World,
        server: Server,
        connection_id: str,
        deliver: Callable[[SentCall], None],
    ) -> None:
        self._world = world
        self._server = server
        self._life = server.life
        self._connection_id = connection_id
        self._deliver = deliver
        self._buffer: list[tuple[MakeCall, int]] = []

    def send_call(self, make: MakeCall) -> None:
        self._buffer.append((make, self._server.commits))

    def flush(self) -> None:
        wait_ms = self._world.socket_ms()
        if wait_ms == 0:
            self._send()
            return

        def send() -> None:
            if self._server.life == self._life:
                self._server.on_loop(self._send)

        self._world.later(wait_ms, f"there is room at {self._connection_id}", send)

    def withdraw(self, request_id: RequestId) -> None:
        self._world.count["call was withdrawn"] += 1

    def _send(self) -> None:
        server, world = self._server, self._world
        if not server.up or server.life != self._life:
            return
        calls, self._buffer = self._buffer, []
        for make, commits in calls:
            made = make()
            if made is None:
                world.count["call was over before it left"] += 1
                continue
            server.leaves()
            call = read_call(made, self._connection_id)
            exact = commits == server.commits
            server.check(check_call, server.committed, server.disk, call, exact)
            server.check(_check_attempt, call)
            world.network.send(
                "from the server",
                self._connection_id,
                "call",
                lambda call=call: self._deliver(call),  # type: ignore[misc]
            )


def _check_attempt(call: SentCall) -> None:
    assert call.attempt < (call.max_attempts or 0), "16: there is an attempt left"
