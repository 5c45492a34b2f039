"""Queued jobs, by function and place: in memory up to a bound, the rest on disk only.

A run's place is the time at which it was queued, so a run that began goes on before a later one
starts. New runs always come last; when a function's window is full they stay on disk, and the
window is filled again from there, in order. The bound is on runs that come in this way: a run
that memory holds for another reason has its jobs here as well.

A function has two queues: of the calls that wait for a worker, and of the requests that the server
makes for its steps. The first has the function's number, the second that number negative. A run
that has jobs in both stays in memory: it has begun, and calls of runs that began come first.

Runs that are pinned to a version of their app stand in lines of their own, one for each version,
so that those whose version is away hold up nobody else. The window counts all lines together: when
so many runs of a function wait for their version, later runs on disk wait with them.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from stepwell.engine.state import QUEUED
from stepwell.wire.ids import RunId

if TYPE_CHECKING:
    from collections.abc import KeysView

    from stepwell.engine.state import Job, Run

Place: TypeAlias = "tuple[int, RunId]"
_Entry: TypeAlias = "tuple[int, RunId, int, Run, Job]"

_UNPINNED = ("",)


class FunctionBacklog:
    """The queue of one function."""

    __slots__ = ("heap", "last", "pinned", "trim_above")

    def __init__(self, trim_above: int) -> None:
        self.heap: list[_Entry] = []
        self.pinned: dict[str, list[_Entry]] = {}
        """By the version to which their run is pinned; almost always empty."""
        self.last: Place | None = None
        """The last place that was let in."""
        self.trim_above = trim_above
        """More jobs than this are worth the work of letting some go."""

    @property
    def size(self) -> int:
        """Jobs in memory."""
        if not self.pinned:
            return len(self.heap)
        return len(self.heap) + sum(len(line) for line in self.pinned.values())

    def entries(self) -> list[_Entry]:
        """All jobs in memory that are still queued, in order."""
        lines = (self.heap, *self.pinned.values())
        return sorted(entry for line in lines for entry in line if entry[4].phase is QUEUED)

    def hold(self, entries: list[_Entry]) -> None:
        """Hold these and no others. They are sorted, so each line is a heap."""
        self.heap = entries
        if self.pinned:
            self.heap = []
            self.pinned = {}
            for entry in entries:
                self.line(entry[3].state.pin).append(entry)

    def line(self, version: str) -> list[_Entry]:
        """The line of those that are pinned to a version, or to none."""
        return self.pinned.setdefault(version, []) if version else self.heap


class Backlog:
    """All functions' queues.

    Args:
        window: New runs held in memory for each function.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._functions: dict[int, FunctionBacklog] = {}
        # So that a turn costs nothing for the functions that it has nothing to do with.
        self._filled: set[int] = set()  # with jobs in memory
        self._asking: set[int] = set()  # those of them that are queues of requests
        self._grown: set[int] = set()  # since the last trim
        self._partly_on_disk: set[int] = set()  # runs behind `last` are on disk only
        self._seq = 0

    def admits(self, run: Run) -> bool:
        """Whether a new run is held in memory; if not, the store brings it when its turn comes."""
        queue = self._queue(run.function_no)
        place = (run.queued_ms, run.run_id)
        on_disk = run.function_no in self._partly_on_disk
        if not on_disk and queue.size < self._window:
            queue.last = place
            return True
        self._partly_on_disk.add(run.function_no)
        if queue.last is not None and place < queue.last:
            # Ids ascend as long as a process lives, but not over a restart within a millisecond.
            queue.last = (run.queued_ms, RunId(b""))
        return False

    def push(self, run: Run, job: Job) -> None:
        """Put a queued job in its place."""
        self._seq += 1
        entry = (run.queued_ms, run.run_id, self._seq, run, job)
        no = run.function_no
        if job.request_seq >= 0:
            no = -no
            heappush(self._queue(no).heap, entry)  # the server makes it, whatever the version
            self._asking.add(no)
        else:
            queue = self._queue(no)
            heappush(queue.line(run.state.pin) if run.state.pin else queue.heap, entry)
        self._filled.add(no)
        self._grown.add(no)

    def head(self, function_no: int, version: str = "") -> Place | None:
        """The place of the first job of a line, None if none is in memory."""
        queue = self._functions.get(function_no)
        if queue is None:
            return None
        heap = queue.pinned.get(version, []) if version else queue.heap
        while heap:
            queued_ms, run_id, _seq, _run, job = heap[0]
            if job.phase is QUEUED:
                return queued_ms, run_id
            heappop(heap)  # it was withdrawn
        if version:
            queue.pinned.pop(version, None)
        if queue.heap or queue.pinned:
            return None
        self._filled.discard(function_no)
        self._asking.discard(function_no)
        if function_no in self._partly_on_disk:
            queue.trim_above = 2 * self._window
        else:
            del self._functions[function_no]
        return None

    def pop(self, function_no: int, version: str = "") -> tuple[Run, Job]:
        """Take the first job of a line. `head` was asked before and gave a place."""
        if version:
            entry = heappop(self._functions[function_no].pinned[version])
            return entry[3], entry[4]
        entry = heappop(self._functions[function_no].heap)
        return entry[3], entry[4]

    def functions(self, among: KeysView[int]) -> list[int]:
        """Which of these functions have jobs in memory, by number."""
        return sorted(among & self._filled)

    def asking(self) -> list[int]:
        """The queues of requests that have some in memory, by function."""
        return sorted(self._asking, reverse=True) if self._asking else []

    def lines(self, function_no: int) -> tuple[str, ...]:
        """The versions whose lines have jobs in memory; the first is empty, for the unpinned."""
        queue = self._functions.get(function_no)
        if queue is None or not queue.pinned:
            return _UNPINNED
        return ("", *sorted(queue.pinned))

    def wanted(self) -> list[tuple[int, Place | None]]:
        """Functions whose window runs low while the store has more, and what comes before those."""
        if not self._partly_on_disk:
            return []  # as nearly always
        return [
            (no, self._functions[no].last)
            for no in sorted(self._partly_on_disk)
            if self._functions[no].size <= self._window // 2
        ]

    def expect(self, function_no: int) -> None:
        """At start: the store has queued runs of this function."""
        self._queue(function_no)
        self._partly_on_disk.add(function_no)

    def loaded(self, function_no: int, last: Place | None, *, more: bool) -> None:
        """A page was loaded. `more`: the store may have others behind `last`."""
        queue = self._queue(function_no)
        if last is not None:
            queue.last = last
        if more:
            self._partly_on_disk.add(function_no)
        else:
            self._partly_on_disk.discard(function_no)

    def trim(self, horizon_ms: int) -> list[Run]:
        """Let go of the jobs at the end of queues that have grown far over their window.

        Args:
            horizon_ms: Times after it are on disk anyway.
        Returns:
            Runs that memory need not hold any more.
        """
        dropped: list[Run] = []
        grown, self._grown = self._grown, set()
        for no in sorted(grown):
            queue = self._functions.get(no)
            if queue is None:
                continue  # it is empty already
            size = queue.size
            if size <= 2 * self._window:
                queue.trim_above = 2 * self._window
            if size <= queue.trim_above:
                continue
            entries = queue.entries()
            kept = entries[: self._window]
            if len(kept) == len(entries):
                queue.hold(kept)
                continue
            last = kept[-1][:2]
            # What is on disk only lies behind `last`, and may lie before what memory holds for
            # another reason: the place may move back, never on.
            if no not in self._partly_on_disk:
                queue.last = last
            elif queue.last is not None:
                queue.last = min(queue.last, last)
            self._partly_on_disk.add(no)
            for entry in entries[self._window :]:
                # A run is queued as a whole or not at all: its place is the same for all its jobs.
                if entry[:2] == last or not entry[3].may_leave(horizon_ms):
                    kept.append(entry)
                else:
                    dropped.append(entry[3])
            queue.hold(kept)
            # If most of them had to stay, the next turn need not find that out again.
            queue.trim_above = 2 * max(self._window, len(kept))
        return dropped

    def _queue(self, function_no: int) -> FunctionBacklog:
        queue = self._functions.get(function_no)
        if queue is None:
            queue = self._functions[function_no] = FunctionBacklog(2 * self._window)
        return queue
