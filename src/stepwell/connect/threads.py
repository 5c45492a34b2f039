"""Threads for sync functions: started when needed, never joined.

`ThreadPoolExecutor` joins its threads when the interpreter ends, so one function that hangs would
keep a worker from stopping however often it is told to.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("stepwell.connect")


class ThreadPool:
    """Runs jobs on at most `threads_max` daemon threads; more jobs wait for a free one."""

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0  # threads that wait, less the jobs that are meant for them

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job. It should not raise; if it does, its thread goes on to the next one.

        Raises:
            RuntimeError: There is no thread, and the system gives none.
        """
        with self._lock:
            if self._idle > 0 or self._threads >= self._threads_max or not self._start_thread():
                self._idle -= 1
        self._jobs.put(job)

    def stop(self) -> None:
        """Let the threads end when they have run what was submitted."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _start_thread(self) -> bool:
        """Whether there is one more."""
        name = f"stepwell-function-{self._threads + 1}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # the system's limit; those that we have do the work
            if self._threads == 0:
                raise
            return False
        self._threads += 1
        return True

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException:  # also SystemExit: a thread that is gone takes no more jobs
                _log.exception("a job for a sync function failed")
            with self._lock:
                self._idle += 1
