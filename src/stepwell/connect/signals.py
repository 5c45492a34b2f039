"""Shutdown signals, shared by all connections of a process.

Two connections in one program both want to hear of SIGTERM, and a loop has one handler a signal;
so one handler tells all of them. What was there before is put back when the last one has gone.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

DEFAULT_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger("stepwell.connect")

_Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def on_signals(signals: Sequence[signal.Signals], callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` for each of the signals, while the body runs on the current loop.

    Only the main thread can have signal handlers; elsewhere this does nothing.
    """
    if not signals or threading.current_thread() is not threading.main_thread():
        if signals:
            _log.debug("not on the main thread: signals do not stop this connection")
        yield
        return
    for number in signals:
        _join(number, callback)
    try:
        yield
    finally:
        for number in signals:
            _leave(number, callback)


class _Watch:
    """One signal: who wants to hear of it, and what handled it before."""

    def __init__(self, number: signal.Signals) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self._number = number
        self._before: _Handler = signal.getsignal(number)
        self._loop = asyncio.get_running_loop()
        try:
            self._loop.add_signal_handler(number, self._tell)
            self._on_loop = True
        except (NotImplementedError, RuntimeError):  # a loop that has no signals, as on Windows
            signal.signal(number, lambda *_: self._loop.call_soon_threadsafe(self._tell))
            self._on_loop = False

    def remove(self) -> None:
        if self._on_loop and not self._loop.is_closed():
            self._loop.remove_signal_handler(self._number)
        if self._before is not None:  # None: it was not set from Python, and cannot be put back
            signal.signal(self._number, self._before)

    def _tell(self) -> None:
        for callback in tuple(self.callbacks):
            callback()


_watches: dict[signal.Signals, _Watch] = {}


def _join(number: signal.Signals, callback: Callable[[], None]) -> None:
    watch = _watches.get(number)
    if watch is None:
        watch = _watches[number] = _Watch(number)
    watch.callbacks.append(callback)


def _leave(number: signal.Signals, callback: Callable[[], None]) -> None:
    watch = _watches[number]
    watch.callbacks.remove(callback)
    if not watch.callbacks:
        del _watches[number]
        watch.remove()
