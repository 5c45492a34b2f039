"""Threads for sync functions: started when needed, never joined.

`ThreadPoolExecutor` joins its threads when the interpreter ends, so one function that hangs would
keep a worker from stopping however often it is told to.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ThreadPool:
    """Runs jobs on at most `threads_max` daemon threads; more jobs wait for a free one."""

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0  # threads that wait, less the jobs that are meant for them

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job. It must not raise."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._threads_max:
                self._threads += 1
                name = f"stepwell-function-{self._threads}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
            else:
                self._idle -= 1
        self._jobs.put(job)

    def stop(self) -> None:
        """Let the threads end when they have run what was submitted."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                self._idle += 1
