"""The worker's lines on stderr, for a program that has not set up logging.

Without them Python shows warnings only, bare, and a worker that runs as a script looks dead.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def shown_on_stderr() -> Iterator[None]:
    """Show what `stepwell` logs, from INFO on, while the body runs.

    Does nothing if the program has a handler that gets these records, and leaves no trace.
    """
    ours = _join()
    try:
        yield
    finally:
        if ours:
            _leave()


class _Handler(logging.StreamHandler[TextIO]):
    """Falls silent when the program sets up logging after all, or lines would come twice."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
        )

    def filter(self, record: logging.LogRecord) -> bool:
        if logging.getLogger().handlers:
            return False
        return super().filter(record)


_LOGGER = logging.getLogger("stepwell")
_lock = threading.Lock()
_handler: _Handler | None = None
_connections = 0  # that share the handler
_set_level = False


def _join() -> bool:
    global _handler, _connections, _set_level
    with _lock:
        if _handler is None:
            if logging.getLogger("stepwell.connect").hasHandlers():
                return False
            _handler = _Handler()
            _set_level = _LOGGER.level == logging.NOTSET
            if _set_level:
                _LOGGER.setLevel(logging.INFO)
            _LOGGER.addHandler(_handler)
        _connections += 1
        return True


def _leave() -> None:
    global _handler, _connections
    with _lock:
        _connections -= 1
        if _connections or _handler is None:
            return
        _LOGGER.removeHandler(_handler)
        _handler = None
        if _set_level and _LOGGER.level == logging.INFO:
            _LOGGER.setLevel(logging.NOTSET)
