"""The Connect gateway: the port that workers dial, and all their sockets."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from stepwell.errors import WireError
from stepwell.server.gateway.clock import LoopClock
from stepwell.server.gateway.door import Door
from stepwell.server.gateway.registration import Registrar
from stepwell.server.gateway.session import (
    CLOSE_WAIT_MS,
    GATEWAY_CLOSING,
    GOING_AWAY,
    INTERNAL_ERROR,
    POLICY_VIOLATION,
    Session,
    SessionConfig,
)
from stepwell.server.gateway.socket import Socket
from stepwell.server.gateway.strangers import Strangers
from stepwell.server.gateway.token import mint_session_token, session_token_valid
from stepwell.server.gateway.upgrade import decide
from stepwell.server.gateway.versions import Versions
from stepwell.wire.keys import bearer_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from stepwell.server.gateway.clock import Clock, Timer
    from stepwell.server.gateway.request import Request
    from stepwell.server.gateway.upgrade import Decision
    from stepwell.server.runtime import Runtime
    from stepwell.server.settings import Settings
    from stepwell.server.workers import WorkerBook

QUIET_INTERVALS = 2
QUIET_LEAST_MS = 20_000
SILENCE_INTERVALS = 5
SILENCE_LEAST_MS = 25_000
"""Some SDKs send a heartbeat every ten seconds, whatever interval is advertised."""

EXTEND_INTERVAL_MAX_S = 5
"""The official Python worker sends unacknowledged replies again only after this interval."""

UPGRADE_WAIT_S = 5.0
FULL_REPEAT_MS = 10_000
"""Between two lines of the log that say that all connections are taken."""

BACKLOG = 1_024
"""Workers of a whole fleet come back at once."""

_log = logging.getLogger(__name__)


class Gateway:
    """The gateway of one server process; an async context manager.

    On exit every worker gets a close frame on which it comes back, and nothing is left running.

    Args:
        secret: Signs session tokens.
        clock: For tests.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        settings: Settings,
        book: WorkerBook,
        secret: bytes,
        clock: Clock | None = None,
    ) -> None:
        self.runtime = runtime
        self.book = book
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._registrar: Registrar | None = None
        self._config = session_config(settings, self._authenticate)
        self._tasks = asyncio.TaskGroup()
        self._servers: list[asyncio.Server] = []
        self._doors: dict[Door, None] = {}  # have not asked for anything yet
        self._sockets: dict[Socket, None] = {}  # in the order in which they came
        self._late: dict[Socket, None] = {}  # came while we leave; nobody waits for them
        self._strangers = Strangers()
        self._empty = asyncio.Event()
        self._empty.set()
        self._draining = False
        self._ending = False
        self._closed = False
        self._restore_timer: Timer | None = None
        self._full_said_ms = -FULL_REPEAT_MS

    async def __aenter__(self) -> Gateway:
        if self._clock is None:
            self._clock = LoopClock()
        self._registrar = Registrar(
            runtime=self.runtime,
            versions=Versions(
                in_force=self._checksum_in_force,
                grace_ms=self._settings.connect_reconnect_grace_ms,
                now_ms=self._clock.now_ms(),
            ),
            clock=self._clock,
        )
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._draining = self._ending = True
        for server in self._servers:
            server.close()
        for door in list(self._doors):
            door.abort()
        self._sockets |= self._late
        self._late.clear()
        if self._sockets:
            self._empty.clear()
        for socket in list(self._sockets):
            socket.shut()
        try:
            async with asyncio.timeout(CLOSE_WAIT_MS / 1000):
                await self._empty.wait()
        except TimeoutError:
            for socket in list(self._sockets):
                socket.abort()
            await self._empty.wait()  # an aborted socket ends in the next turn of the loop
        finally:
            self._closed = True
            if self._restore_timer is not None:
                self._restore_timer.cancel()
            await self._end_tasks()

    # --- what the server asks ---

    async def listen(self, host: str, port: int) -> int:
        """Open the port; returns its number, which is `port` unless that was 0.

        Raises:
            OSError: The address cannot be had.
        """
        server = await asyncio.get_running_loop().create_server(
            lambda: Door(self, UPGRADE_WAIT_S), host, port, backlog=BACKLOG
        )
        self._servers.append(server)
        number: int = server.sockets[0].getsockname()[1]
        return number

    def mint_session_token(self, connection_id: str) -> str:
        """The token that opens this connection, and no other, within five minutes."""
        return mint_session_token(
            secret=self._secret, connection_id=connection_id, now_ms=self.runtime.now_ms()
        )

    def begin_drain(self) -> None:
        """Leave: no new workers, no new calls; those connected are asked to move. Idempotent."""
        self._draining = True
        for socket in list(self._sockets):
            socket.begin_drain()

    async def drained(self) -> None:
        """Wait until every worker has left, or was closed after the drain wait."""
        await self._empty.wait()

    @property
    def connection_count(self) -> int:
        """Sockets that are open, whatever became of their workers."""
        return len(self._sockets) + len(self._late)

    # --- what connections share: `Shared` ---

    @property
    def clock(self) -> Clock:
        assert self._clock is not None, "the gateway is entered"
        return self._clock

    @property
    def registrar(self) -> Registrar:
        assert self._registrar is not None, "the gateway is entered"
        return self._registrar

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` as a task of the gateway; it handles its own errors."""
        if self._closed:
            work.close()
            return
        self._tasks.create_task(work)

    def versions_changed(self) -> None:
        """A worker left: look whether another version of its apps has to be put in force."""
        if self._restore_timer is not None:
            self._restore_timer.cancel()
            self._restore_timer = None
        due_ms = None if self._draining else self.registrar.next_wakeup_ms()
        if due_ms is not None:
            self._restore_timer = self.clock.call_at(due_ms, self._restore)

    # --- what doors ask: `House` ---

    def decide(self, request: Request) -> Decision:
        """Answer a request."""
        return decide(request.path, request.headers, draining=self._draining)

    def make_socket(self) -> Socket:
        """The protocol of a connection that becomes a WebSocket."""
        now_ms = self.clock.now_ms()
        session = Session(self._config, now_ms)
        if self._ending:
            session.turn_away(GOING_AWAY, GATEWAY_CLOSING, now_ms)
        elif not self._draining and self._is_full():
            # This reason, because every SDK comes back on it.
            session.turn_away(POLICY_VIOLATION, INTERNAL_ERROR, now_ms)
        return Socket(
            shared=self,
            session=session,
            strangers=self._strangers,
            on_opened=self._opened,
            on_ended=self._ended,
            is_late=self._draining and not self._ending,
        )

    def door_opened(self, door: Door) -> None:
        """Somebody has connected."""
        self._doors[door] = None

    def door_closed(self, door: Door) -> None:
        """The connection has ended, or is a WebSocket. Idempotent."""
        self._doors.pop(door, None)

    # --- inside ---

    def _opened(self, socket: Socket) -> None:
        if socket.is_late:
            self._late[socket] = None
            return
        self._sockets[socket] = None
        self._empty.clear()

    def _ended(self, socket: Socket) -> None:
        self._late.pop(socket, None)
        self._sockets.pop(socket, None)
        if not self._sockets:
            self._empty.set()

    def _restore(self) -> None:
        self._restore_timer = None
        self.start(self._restore_versions())

    async def _restore_versions(self) -> None:
        try:
            await self.registrar.restore()
        except Exception:  # ours: the versions stay as they are, the gateway goes on
            _log.exception("cannot put an earlier version in force")
        self.versions_changed()

    def _checksum_in_force(self, app_name: str) -> str | None:
        app = self.runtime.catalog.transports.of(app_name, "connect")
        return None if app is None else app.checksum

    def _is_full(self) -> bool:
        """Whether all connections are taken; if so, that is in the log, now and then.

        Strangers do not count: whoever opens sockets without a key must not keep workers out.
        """
        most = self._settings.connections_max
        if self.book.live_count < most:
            return False
        now_ms = self.clock.now_ms()
        if now_ms >= self._full_said_ms + FULL_REPEAT_MS:
            self._full_said_ms = now_ms
            _log.warning(
                "workers are turned away: all connections are taken; raise --connections-max "
                "(STEPWELL_CONNECTIONS_MAX)",
                extra={"connections_max": most},
            )
        return True

    def _authenticate(self, connection_id: str, session_token: str, sync_token: str) -> bool:
        known = self.book.get(connection_id)
        if known is not None and known.is_live:
            return False  # a token opens one socket at a time
        if self._settings.mode == "start" and not bearer_matches(
            f"Bearer {sync_token}", self._settings.signing_keys
        ):
            return False
        valid = session_token_valid(
            session_token,
            secret=self._secret,
            connection_id=connection_id,
            now_ms=self.runtime.now_ms(),
        )
        if valid and self._is_full():  # since the socket was opened others said their hello
            raise WireError("all connections for workers are taken", code=INTERNAL_ERROR)
        return valid

    async def _end_tasks(self) -> None:
        """Let registrations finish that are being stored; cancel what takes too long."""
        try:
            async with asyncio.timeout(CLOSE_WAIT_MS / 1000):
                await self._tasks.__aexit__(None, None, None)
        except TimeoutError:
            _log.warning("a registration was not stored before the gateway ended")


def session_config(
    settings: Settings, authenticate: Callable[[str, str, str], bool]
) -> SessionConfig:
    """What the settings mean to sessions. Advertised intervals are whole seconds."""
    heartbeat_s = max(1, settings.connect_heartbeat_ms // 1000)
    extend_s = max(1, min(EXTEND_INTERVAL_MAX_S, settings.connect_lease_ms // 4_000))
    return SessionConfig(
        authenticate=authenticate,
        heartbeat_interval=f"{heartbeat_s}s",
        extend_lease_interval=f"{extend_s}s",
        quiet_ms=max(QUIET_LEAST_MS, QUIET_INTERVALS * heartbeat_s * 1000),
        silence_ms=max(SILENCE_LEAST_MS, SILENCE_INTERVALS * heartbeat_s * 1000),
        drain_wait_ms=settings.connect_drain_wait_ms,
        apps_max=settings.connect_apps_max,
    )
