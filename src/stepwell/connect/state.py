"""The public state of a connection, readable and awaitable from any thread."""

from __future__ import annotations

import asyncio
import threading
from enum import Enum
from typing import TYPE_CHECKING

from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from collections.abc import Callable


class ConnectionState(Enum):
    """Where a connection is in its life.

        CONNECTING -> ACTIVE <-> RECONNECTING
             any of them -> CLOSING -> CLOSED

    CLOSING leads to nothing but CLOSED, also when the socket is replaced meanwhile.
    """

    CONNECTING = "CONNECTING"  # from the call until the first handshake is complete
    ACTIVE = "ACTIVE"  # takes calls
    RECONNECTING = "RECONNECTING"  # the socket was lost or is being replaced
    CLOSING = "CLOSING"  # takes no calls; those in flight are being finished
    CLOSED = "CLOSED"


_ORDER = {
    ConnectionState.CONNECTING: 0,
    ConnectionState.ACTIVE: 0,
    ConnectionState.RECONNECTING: 0,
    ConnectionState.CLOSING: 1,
    ConnectionState.CLOSED: 2,
}


class StateCell:
    """One connection's state. Every method may be called on any thread.

    Args:
        on_change: Called after each change, on the thread that made it.
    """

    def __init__(self, on_change: Callable[[ConnectionState], None]) -> None:
        self._state = ConnectionState.CONNECTING
        self._on_change = on_change
        self._lock = threading.Lock()
        self._waiters: list[tuple[ConnectionState, _Waiter]] = []
        self._error: BaseException | None = None

    @property
    def value(self) -> ConnectionState:
        return self._state

    def move(self, state: ConnectionState, error: BaseException | None = None) -> None:
        """Enter a state. Nothing happens if it is the present one, or lies behind it.

        Args:
            error: Why the connection is CLOSED, if it was not meant to.
        """
        with self._lock:
            if state is self._state or _ORDER[state] < _ORDER[self._state]:
                return
            self._state = state
            self._error = error
            closed = state is ConnectionState.CLOSED
            woken = [waiter for wanted, waiter in self._waiters if closed or wanted is state]
            self._waiters = [pair for pair in self._waiters if pair[1] not in woken]
        for waiter in woken:
            waiter.wake(state)
        self._on_change(state)

    async def wait_for(self, state: ConnectionState) -> None:
        """Wait until the state is, or was for a moment, the given one.

        Raises:
            StepwellError: `connection_closed`, if it can no longer come.
        """
        waiter = _Waiter()
        with self._lock:
            if self._state is state:
                return
            reached_last = self._state is ConnectionState.CLOSED
            if not reached_last:
                self._waiters.append((state, waiter))
        if not reached_last:
            try:
                await waiter.event.wait()
            finally:
                with self._lock:
                    self._waiters = [pair for pair in self._waiters if pair[1] is not waiter]
            if waiter.saw is state:
                return
        raise StepwellError(
            f"the connection is closed and will not be {state.value} again",
            code="connection_closed",
        ) from self._error


class _Waiter:
    """One coroutine that waits for a state, on the loop that it runs on."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.saw: ConnectionState | None = None
        self._loop = asyncio.get_running_loop()

    def wake(self, state: ConnectionState) -> None:
        self.saw = state
        try:
            self._loop.call_soon_threadsafe(self.event.set)
        except RuntimeError:  # that loop has ended, and the waiter with it
            return
