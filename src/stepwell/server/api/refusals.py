"""The log of refused credentials: enough to see an attack or a wrong key, never a flood."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_MS = 1_000
PATH_CHARS_MAX = 200

_log = logging.getLogger(__name__)


class RefusalLog:
    """One WARNING a second at most; the next one tells how many came in between.

    Args:
        now_ms: A clock that never goes back.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._next_ms = 0
        self._suppressed = 0

    def refused(self, *, path: str, client: tuple[str, int] | None, reason: str) -> None:
        """Log that a request was refused, unless another one was within the last second.

        Args:
            path: As decoded.
            client: The address and the port of the socket's other end, if it has one.
            reason: What was wrong, without the credential.
        """
        now_ms = self._now_ms()
        if now_ms < self._next_ms:
            self._suppressed += 1
            return
        extra: dict[str, object] = {
            "path": loggable_path(path),
            "remote": client[0] if client else "unknown",
        }
        if self._suppressed:
            extra["suppressed"] = self._suppressed
        self._next_ms = now_ms + INTERVAL_MS
        self._suppressed = 0
        _log.warning("authentication failed: %s", reason, extra=extra)


def loggable_path(path: str) -> str:
    """A decoded path as logs may have it: one word, not long, and without an event key.

    The key is what comes after `/e/`, wherever that stands: in front of it there may be the prefix
    of a proxy, after it a mistake.
    """
    before, events, _key = path.partition("/e/")
    shown = before + events + "..." if events else path
    return quote(shown, errors="replace")[:PATH_CHARS_MAX]
