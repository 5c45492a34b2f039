"""One socket: it moves bytes between the network and a `Session`, and decides nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from stepwell.config import SDK_NAME
from stepwell.connect.http import ServerUnreachable
from stepwell.connect.session import Phase
from stepwell.wire.connect import SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.connect.session import Fact, Session

DIAL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
ABORT_AFTER_S = 3.0  # A peer that does not even read cannot be sent a close frame.
MESSAGE_BYTES_MAX = 16 * 2**20  # A call has 4 MiB of JSON at most; ours to spare.

OnFact: TypeAlias = "Callable[[Link, Fact], None]"


async def dial(url: str) -> ClientConnection:
    """Open a socket to a gateway.

    Raises:
        ServerUnreachable: No socket, for any reason.
    """
    try:
        return await connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            open_timeout=DIAL_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=None,  # the protocol has heartbeats of its own
            max_size=MESSAGE_BYTES_MAX,
            user_agent_header=SDK_NAME,
        )
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
        raise ServerUnreachable(
            f"cannot connect to the gateway at {url}: {str(error) or type(error).__name__}"
        ) from error


class Link:
    """A socket and the session on it.

    Args:
        group: The gateway group, to avoid when this gateway leaves.
        on_fact: Called for every fact, in order, before the output that follows from it is sent.

    Attributes:
        ready: Done when the handshake is complete; an error, if it never will be.
        is_draining: Whether the gateway is leaving.
        close_reason: What the peer's close frame said; empty if none came.
    """

    def __init__(
        self,
        socket: ClientConnection,
        session: Session,
        *,
        connection_id: str,
        group: str,
        on_fact: OnFact,
    ) -> None:
        self.session = session
        self.connection_id = connection_id
        self.group = group
        self.is_draining = False
        self.close_reason = ""
        self._socket = socket
        self._on_fact = on_fact
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._writable = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._abort: asyncio.TimerHandle | None = None

    @property
    def is_leaving(self) -> bool:
        """Whether another socket is needed: this one has ended, or is about to."""
        return self.is_draining or self.session.phase is Phase.OVER

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
            self.close_reason = "" if closed.rcvd is None else closed.rcvd.reason

    async def _write(self) -> None:
        socket, session, writable = self._socket, self.session, self._writable
        try:
            while True:
                await writable.wait()
                writable.clear()
                output = session.take_output()
                if output is None:
                    continue
                for message in output.messages:
                    await socket.send(message)
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
        # Rounded up, so that a timer that fires a moment early does not have to fire again.
        self.session.wake(-int(-self._loop.time() * 1000 // 1))
        self.kick()
