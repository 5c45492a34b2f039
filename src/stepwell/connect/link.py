"""One socket: it moves bytes between the network and a `Session`, and decides nothing."""

from __future__ import annotations

import asyncio
import socket as sockets
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from stepwell.config import SDK_NAME
from stepwell.connect.http import ServerUnreachable
from stepwell.connect.session import Phase
from stepwell.proxy import is_loopback
from stepwell.wire.connect import SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.connect.session import Fact, Session

DIAL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
ABORT_AFTER_S = 3.0  # A peer that does not even read cannot be sent a close frame.
MESSAGE_BYTES_MAX = 16 * 2**20  # A call has 4 MiB of JSON at most; ours to spare.
UNSENT_BYTES_MAX = 64 * 2**10  # In the kernel; more would only keep heartbeats waiting behind it.
TOO_BIG = 1009

OnFact: TypeAlias = "Callable[[Link, Fact], None]"
OnReplyLeft: TypeAlias = "Callable[[Link, str], None]"


async def dial(url: str) -> ClientConnection:
    """Open a socket to a gateway.

    Raises:
        ServerUnreachable: No socket, for any reason.
    """
    try:
        connection = await connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            open_timeout=DIAL_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=None,  # the protocol has heartbeats of its own
            max_size=MESSAGE_BYTES_MAX,
            proxy=None if is_loopback(urlsplit(url).hostname or "") else True,
            user_agent_header=SDK_NAME,
        )
    # ValueError: a host or port that cannot be one; the server may have made it up.
    except (OSError, WebSocketException, TimeoutError, ValueError) as error:
        raise ServerUnreachable(
            f"cannot connect to the gateway at {url}: {str(error) or type(error).__name__}"
        ) from error
    _bound_unsent(connection)
    return connection


def _bound_unsent(connection: ClientConnection) -> None:
    """Have writes wait until the line takes them, rather than pile up in the kernel."""
    option = getattr(sockets, "TCP_NOTSENT_LOWAT", None)
    socket = connection.transport.get_extra_info("socket")
    if option is None or socket is None or socket.family == getattr(sockets, "AF_UNIX", None):
        return
    with suppress(OSError):  # a refinement; a system without it works
        socket.setsockopt(sockets.IPPROTO_TCP, option, UNSENT_BYTES_MAX)


class Link:
    """A socket and the session on it.

    Args:
        group: The gateway group, to avoid when this gateway leaves.
        on_fact: Called for every fact, in order, before the output that follows from it is sent.
        on_reply_left: Called with the id of a call whose reply was written.

    Attributes:
        ready: Done when the handshake is complete; an error, if it never will be.
        is_draining: Whether the gateway is leaving.
        close_reason: What the peer's close frame said; empty if none came.
        close_code: Its code; 0 if none came.
    """

    def __init__(
        self,
        socket: ClientConnection,
        session: Session,
        *,
        connection_id: str,
        group: str,
        on_fact: OnFact,
        on_reply_left: OnReplyLeft = lambda _link, _request_id: None,
    ) -> None:
        self.session = session
        self.connection_id = connection_id
        self.group = group
        self.is_draining = False
        self.close_reason = ""
        self.close_code = 0
        self._socket = socket
        self._on_fact = on_fact
        self._on_reply_left = on_reply_left
        self._unsent_bytes = 0  # at the last look
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._writable = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._abort: asyncio.TimerHandle | None = None

    @property
    def is_leaving(self) -> bool:
        """Whether another socket is needed: this one has ended, or is about to."""
        return self.is_draining or self.session.phase is Phase.OVER

    @property
    def was_ready(self) -> bool:
        """Whether its handshake was completed."""
        ready = self.ready
        return ready.done() and not ready.cancelled() and ready.exception() is None

    async def run(self) -> None:
        """Move bytes until the socket is over. The session knows that it is, afterwards."""
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write())
                self.kick()
                await self._read()
                writer.cancel()
        finally:
            self.session.lost()
            for timer in (self._timer, self._abort):
                if timer is not None:
                    timer.cancel()
            self._socket.transport.abort()
            said = f" with {self.close_reason!r}" if self.close_reason else ""
            self.refuse(ServerUnreachable(f"the gateway closed the socket{said}"))

    def refuse(self, error: Exception) -> None:
        """The handshake has failed, unless it succeeded before."""
        if not self.ready.done():
            self.ready.set_exception(error)

    def kick(self) -> None:
        """Handle what the session has to say, and send what it has to send.

        To be called after anything was said to the session.
        """
        for fact in self.session.take_facts():
            self._on_fact(self, fact)
        self._writable.set()
        self._arm()

    def close(self, reason: str) -> None:
        """Leave in good order; `run` ends when the peer has answered, or after a moment."""
        self.session.close(reason)
        self.kick()

    async def _read(self) -> None:
        session, loop, recv = self.session, self._loop, self._socket.recv
        try:
            while True:
                message = await recv()
                if isinstance(message, str):
                    session.receive_garbage()
                else:
                    session.receive(message, int(loop.time() * 1000))
                self.kick()
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                self.close_code, self.close_reason = closed.rcvd.code, closed.rcvd.reason

    async def _write(self) -> None:
        socket, session, writable = self._socket, self.session, self._writable
        try:
            while True:
                await writable.wait()
                writable.clear()
                while (output := session.take_output()) is not None:
                    for message in output.messages:
                        await socket.send(message)
                    session.messages_left()
                    for request_id, message in output.replies:
                        await socket.send(message)
                        session.moved()
                        self._on_reply_left(self, request_id)
                    if output.close is not None:
                        await socket.close(output.close.code, output.close.reason)
                        return
        except ConnectionClosed:
            return  # the reader sees it too

    def _arm(self) -> None:
        """Have the session woken when it wants to be. Being woken early does no harm."""
        due_ms = self.session.next_wakeup_ms()
        if due_ms is None:
            if self._abort is None:
                self._abort = self._loop.call_later(ABORT_AFTER_S, self._socket.transport.abort)
            return
        when = due_ms / 1000
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        unsent_bytes = self._socket.transport.get_write_buffer_size()
        if unsent_bytes < self._unsent_bytes:
            self.session.moved()
        self._unsent_bytes = unsent_bytes
        # Rounded up, so that a timer that fires a moment early does not have to fire again.
        self.session.wake(-int(-self._loop.time() * 1000 // 1))
        self.kick()
