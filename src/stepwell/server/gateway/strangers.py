"""Bounds what sockets may take whose workers have not authenticated: anybody can open those.

Each may send `STRANGER_BYTES_MAX` until its WORKER_CONNECT is taken; what comes after that is
read and dropped, so that the peer gets to see its close frame. All together may have
`TOGETHER_BYTES_MAX`, and be `TOGETHER_MAX`. When they are more, the one that sent most or the
oldest makes room, never the newest: a worker that says its hello at once gets in whatever others
hold, and one that was in the way by accident is closed with a reason on which it comes back.

The bytes are counted below picows, which keeps a frame until it is whole and lets no limit
change during a connection: a guard stands between TCP and picows, and steps aside for good when
the worker has authenticated. Road not taken: a small number of sockets with the newest refused.
Whoever opened that many would keep all workers out, and a fleet that comes back refuses itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol, cast

from stepwell.server.gateway.session import HELLO_BYTES_MAX, MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

STRANGER_BYTES_MAX = HELLO_BYTES_MAX + 64 * 2**10
"""The hello, and what frames and pings need beside it."""

TOGETHER_BYTES_MAX = 32 * 2**20
TOGETHER_MAX = 2_000
"""More than a fleet opens before the first of it has said its hello."""

PIECE_BYTES_MAX = 32 * 2**10
"""What is read of one of them in a turn of the loop: sockets that make room do so between turns."""

REPEAT_MS = 10_000
"""Between two lines of the log that say the same."""

_SINK = memoryview(bytearray(PIECE_BYTES_MAX))  # for what nobody reads
_NOBODY = asyncio.BufferedProtocol()

_log = logging.getLogger(__name__)


class Stranger(Protocol):
    """A socket whose worker has not authenticated."""

    def make_room(self) -> None:
        """End now, with a reason on which the worker comes back."""
        ...


class Strangers:
    """The strangers of a gateway, oldest first, with the bytes that each has sent."""

    def __init__(self) -> None:
        self._sent: dict[Stranger, int] = {}
        self._bytes = 0
        self._ended = 0  # since the last line of the log
        self._quiet_until_ms = 0

    def __len__(self) -> int:
        return len(self._sent)

    def came(self, stranger: Stranger, now_ms: int) -> None:
        """A socket was opened."""
        self._sent[stranger] = 0
        if len(self._sent) > TOGETHER_MAX:
            self._end(next(iter(self._sent)), now_ms)

    def sent(self, stranger: Stranger, count: int, now_ms: int) -> None:
        """Bytes came. The stranger itself may be the one that has to make room."""
        if stranger not in self._sent:
            return
        self._sent[stranger] += count
        self._bytes += count
        while self._bytes > TOGETHER_BYTES_MAX:
            self._end(max(self._sent, key=self._sent.__getitem__), now_ms)

    def left(self, stranger: Stranger) -> None:
        """The socket ended, or its worker authenticated. Idempotent."""
        self._bytes -= self._sent.pop(stranger, 0)

    def _end(self, stranger: Stranger, now_ms: int) -> None:
        self.left(stranger)
        stranger.make_room()
        self._ended += 1
        if now_ms >= self._quiet_until_ms:
            _log.warning(
                "too much comes from sockets that do not authenticate: some were closed",
                extra={"closed": self._ended, "open": len(self._sent)},
            )
            self._ended = 0
            self._quiet_until_ms = now_ms + REPEAT_MS


class Guard(asyncio.BufferedProtocol):
    """Stands before a socket's protocol and asks about all that comes.

    Args:
        admits: From a number of bytes that came to whether they are read. After the first no
            nothing is read any more.
    """

    def __init__(self, tcp: asyncio.Transport, admits: Callable[[int], bool]) -> None:
        self._tcp = tcp
        self._inner = cast("asyncio.BufferedProtocol", tcp.get_protocol())
        self._admits = admits
        self._is_shut = False
        self._dropped_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._next_turn: asyncio.Handle | None = None  # when reading goes on
        tcp.set_protocol(self)

    def step_aside(self) -> None:
        """Let everything pass from now on, at no cost."""
        self._tcp.set_protocol(self._inner)
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._read_on()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._is_shut:
            return _SINK
        buffer = cast("memoryview", self._inner.get_buffer(sizehint))
        return buffer[:PIECE_BYTES_MAX]  # the protocol's own grows to megabytes

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes >= PIECE_BYTES_MAX and self._next_turn is None:
            self._tcp.pause_reading()  # or uvloop would go on for 32 times
            self._next_turn = self._loop.call_soon(self._read_on)
        if self._is_shut:
            self._dropped_bytes += nbytes
        elif self._admits(nbytes):
            self._inner.buffer_updated(nbytes)
        else:
            self._is_shut = True

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        inner, self._inner = self._inner, _NOBODY  # its buffer is free at once, not when gc comes
        inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def _read_on(self) -> None:
        self._next_turn = None
        # Who sent that much after its close frame does not look at it.
        if self._dropped_bytes <= MESSAGE_BYTES_MAX and not self._tcp.is_closing():
            self._tcp.resume_reading()
