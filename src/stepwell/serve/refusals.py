"""What the program's log says of requests that were refused for their signature.

The caller is told little, and the server's log is on another machine: this is for the person who
set up the keys. Anybody can cause such requests, so each reason is told once in a while.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from stepwell.errors import AuthError

INTERVAL_S: Final = 60.0

_UNSIGNED = (
    "`stepwell start` signs what it sends and `stepwell dev` does not; with a development server "
    "set STEPWELL_DEV=1 here"
)
_UNSIGNED_SYNC = (
    "a sync may go without one if this app says where it is: serve_origin= or STEPWELL_SERVE_ORIGIN"
)
_INVALID = (
    "STEPWELL_SIGNING_KEY here must be the server's --signing-key, and the clocks of both machines "
    "must agree"
)


class RefusalLog:
    """Writes the records. Its methods may be called on any thread."""

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._told_s: dict[str, float] = {}  # by what to check: when it was told last
        self._untold: dict[str, int] = {}  # how many came since
        self._lock = threading.Lock()

    def tell(self, method: str, error: AuthError) -> None:
        """A request was refused."""
        check = _what_to_check(method, error.code)
        with self._lock:
            now_s = self._clock()
            told_s = self._told_s.get(check)
            if told_s is not None and now_s - told_s < INTERVAL_S:
                self._untold[check] = self._untold.get(check, 0) + 1
                return
            self._told_s[check] = now_s
            untold = self._untold.pop(check, 0)
        self._log.warning(
            "a %s was refused: %s; %s%s",
            method,
            error.message,
            check,
            f" ({untold} more like it before)" if untold else "",
        )


def _what_to_check(method: str, code: str) -> str:
    if code != "signature_missing":
        return _INVALID
    return _UNSIGNED_SYNC if method == "PUT" else _UNSIGNED
