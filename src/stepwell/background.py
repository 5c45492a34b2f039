"""One event loop per process, on a thread of its own, for the SDK's HTTP requests.

It serves callers with a loop, callers without one, and programs that make a new loop for each
`asyncio.run`: connections are kept between them. It starts on first use. A forked child gets a
loop of its own, because threads do not survive a fork and the parent's sockets are not the
child's.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import aiohttp

from stepwell.checkpointer import FlushClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

_STOP_WAIT_S = 2.0


class LookupThreads(ThreadPoolExecutor):
    """A daemon thread for each blocking job of the loop, which are look-ups of names.

    The standard executor takes no more jobs once the main thread has ended, and then another
    thread of the program that still sends would lose its events.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # told to whoever waits for it
                future.set_exception(error)

        threading.Thread(target=run, name="stepwell-lookup", daemon=True).start()
        return future


class Background:
    """A running loop and the HTTP session that lives on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(LookupThreads())
        self._session: aiohttp.ClientSession | None = None
        self._flush_clock: FlushClock | None = None
        self._thread = threading.Thread(target=self._run, name="stepwell-http", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the loop still runs."""
        return self._thread.is_alive()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def session(self) -> aiohttp.ClientSession:
        """The session; to be used on the loop only."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session

    @property
    def flush_clock(self) -> FlushClock:
        """Looks after the steps of calls that came over HTTP."""
        if self._flush_clock is None:
            self._flush_clock = FlushClock(self._loop.call_soon_threadsafe)
        return self._flush_clock

    def stop(self) -> None:
        """Close the session and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        if self._session is not None:
            self._loop.run_until_complete(self._session.close())
        self._loop.close()


def background() -> Background:
    """The process's background loop, started if need be."""
    global _current
    with _lock:
        if _current is None:
            _current = Background()
        return _current


def _after_fork() -> None:
    global _current, _lock
    if _current is not None:
        _inherited.append(_current)
    _current = None
    _lock = threading.Lock()  # the parent's may have been held by a thread that is not here


def _at_exit() -> None:
    if _current is not None:
        _current.stop()


_current: Background | None = None
_lock = threading.Lock()

# What a fork copied is kept as it is: collecting it would close the loop's and the session's file
# descriptors, some of which the child may have reused.
_inherited: list[Background] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
