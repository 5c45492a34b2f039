"""A socket to a gateway: what the worker knows of it, whichever kind it is.

A link moves bytes between the network and a `Session`, and decides nothing. There are two kinds:
`DirectLink` on plain TCP, whose messages are read on the thread that runs the functions, and
`LoopLink` for what needs TLS or a proxy, which stays on the protocol's loop.

The session, and whatever the facts lead to, belong to whoever holds `lock`.
"""

from __future__ import annotations

import asyncio
import socket as sockets
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from stepwell.connect.session import Phase

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from stepwell.connect.session import Fact, Session

CLOSE_TIMEOUT_S = 2.0
ABORT_AFTER_S = 3.0  # A peer that does not even read cannot be sent a close frame.
MESSAGE_BYTES_MAX = 16 * 2**20  # A call has 4 MiB of JSON at most; ours to spare.
UNSENT_BYTES_MAX = 64 * 2**10  # In the kernel; more would only keep heartbeats waiting behind it.
TOO_BIG = 1009

OnFact: TypeAlias = "Callable[[Link, Fact], None]"
OnReplyLeft: TypeAlias = "Callable[[Link, str], None]"


class Link(ABC):
    """A socket and the session on it. Made on the protocol's loop.

    Args:
        lock: Of the worker; taken for all that follows from a message or a timer.
        group: The gateway group, to avoid when this gateway leaves.
        on_fact: Called for every fact, in order, before the output that follows from it is sent,
            with the lock held. `EVERYDAY` facts may come on any thread, others on the protocol's.
        on_reply_left: Called with the id of a call whose reply was written, with the lock held.

    Attributes:
        ready: Done when the handshake is complete; an error, if it never will be.
        is_draining: Whether the gateway is leaving.
        close_reason: What the peer's close frame said; empty if none came.
        close_code: Its code; 0 if none came.
    """

    def __init__(
        self,
        session: Session,
        *,
        lock: threading.RLock,
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
        self._lock = lock
        self._on_fact = on_fact
        self._on_reply_left = on_reply_left
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.Handle | None = None
        self._timer_s = 0.0  # when it fires; uvloop's handle of what is due at once cannot say
        self._abort_timer: asyncio.TimerHandle | None = None

    @property
    def is_leaving(self) -> bool:
        """Whether another socket is needed: this one has ended, or is about to."""
        return self.is_draining or self.session.phase is Phase.OVER

    @property
    def was_ready(self) -> bool:
        """Whether its handshake was completed."""
        ready = self.ready
        return ready.done() and not ready.cancelled() and ready.exception() is None

    def refuse(self, error: Exception) -> None:
        """The handshake has failed, unless it succeeded before. On the protocol's thread."""
        if not self.ready.done():
            self.ready.set_exception(error)

    def close(self, reason: str) -> None:
        """Leave in good order; `run` ends when the peer has answered, or after a moment."""
        with self._lock:
            self.session.close(reason)
            self.kick()

    @abstractmethod
    async def run(self) -> None:
        """Move bytes until the socket is over. The session knows that it is, afterwards."""

    @abstractmethod
    def kick(self) -> None:
        """Handle what the session has to say, and send what it has to send.

        To be called after anything was said to the session, with the lock held, on any thread.
        """

    def flush(self) -> None:  # noqa: B027 - a link that sends as soon as it can has nothing to do
        """Send at once what is ready, rather than with what this turn of the loop still brings.

        After `kick`, with the lock held, on any thread.
        """

    @abstractmethod
    def _abort(self) -> None:
        """End TCP now. On the protocol's thread."""

    @abstractmethod
    def _wake(self) -> None:
        """The timer has fired."""

    def _arm(self) -> None:
        """Have the session woken when it wants to be. Being woken early does no harm.

        On the protocol's thread, with the lock held.
        """
        due_ms = self.session.next_wakeup_ms()
        if due_ms is None:
            if self._abort_timer is None:
                self._abort_timer = self._loop.call_later(ABORT_AFTER_S, self._abort)
            return
        when = due_ms / 1000
        if self._timer is not None:
            if self._timer_s <= when:
                return
            self._timer.cancel()
        self._timer, self._timer_s = self._loop.call_at(when, self._wake), when

    def _disarm(self) -> None:
        for timer in (self._timer, self._abort_timer):
            if timer is not None:
                timer.cancel()

    def _due_ms(self) -> int:
        """The time, rounded up, so that a timer that fires a moment early need not fire again."""
        return -int(-self._loop.time() * 1000 // 1)


def bound_unsent(socket: sockets.socket | None) -> None:
    """Have writes wait until the line takes them, rather than pile up in the kernel."""
    option = getattr(sockets, "TCP_NOTSENT_LOWAT", None)
    if option is None or socket is None or socket.family == getattr(sockets, "AF_UNIX", None):
        return
    with suppress(OSError):  # a refinement; a system without it works
        socket.setsockopt(sockets.IPPROTO_TCP, option, UNSENT_BYTES_MAX)
