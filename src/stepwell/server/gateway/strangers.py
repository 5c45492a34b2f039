"""Bounds what sockets may take whose workers have not authenticated: anybody can open those.

Each may send `STRANGER_BYTES_MAX` until its WORKER_CONNECT is taken; what comes after that is
read and dropped, so that the peer gets to see its close frame. All together may have
`TOGETHER_BYTES_MAX`, and be `TOGETHER_MAX`. When they are more, the one that sent most or the
oldest makes room, never the newest: a worker that says its hello at once gets in whatever others
hold, and one that was in the way by accident is closed with a reason on which it comes back.

Road not taken: a small number of sockets with the newest refused.
Whoever opened that many would keep all workers out, and a fleet that comes back refuses itself.
"""

from __future__ import annotations

import logging
from typing import Protocol

from stepwell.server.gateway.session import HELLO_BYTES_MAX

STRANGER_BYTES_MAX = HELLO_BYTES_MAX + 64 * 2**10
"""The hello, and what frames and pings need beside it."""

TOGETHER_BYTES_MAX = 32 * 2**20
TOGETHER_MAX = 2_000
"""More than a fleet opens before the first of it has said its hello."""

REPEAT_MS = 10_000
"""Between two lines of the log that say the same."""

_log = logging.getLogger(__name__)


class Stranger(Protocol):
    """A socket whose worker has not authenticated."""

    def make_room(self) -> None:
        """End now, with a reason on which the worker comes back, and keep nothing."""
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
