"""Times that runs wait for: those before a horizon in memory, later ones in the store only.

A run that waits for nothing but a time behind the horizon need not be in memory. When time
reaches the horizon it moves on, and the store brings the runs up to there.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from stepwell.engine.state import Deadline, Job, Phase, Sleep, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stepwell.engine.state import Run, Timed

_Entry: TypeAlias = "tuple[int, int, Run, Job | Timed]"


class Timers:
    """A heap of due times up to `horizon_ms`, which is inclusive.

    Args:
        window: Times held in memory before the horizon is drawn nearer.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._draw_above = window
        self._heap: list[_Entry] = []
        self._seq = 0
        self.horizon_ms = 0

    def push(self, run: Run, wait: Job | Timed) -> None:
        """Remember a time, if it lies before the horizon."""
        if wait.due_ms <= self.horizon_ms:
            self._seq += 1
            heappush(self._heap, (wait.due_ms, self._seq, run, wait))

    def pop_due(self, now_ms: int) -> tuple[Run, Job | Timed] | None:
        """Take the first wait that is over, None if there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            due_ms, _seq, run, wait = heappop(heap)
            if _holds(run, wait, due_ms):
                return run, wait
        return None

    def next_ms(self) -> int:
        """The time to look again: the first due time, or the horizon."""
        return min(self._heap[0][0], self.horizon_ms) if self._heap else self.horizon_ms

    @property
    def overfull(self) -> bool:
        """Whether the horizon should be drawn nearer."""
        return len(self._heap) > self._draw_above

    def draw_nearer(self) -> int:
        """Halve what is held; returns the new horizon. Runs that wait beyond it may go."""
        self._heap = [entry for entry in self._heap if _holds(entry[2], entry[3], entry[0])]
        self._heap.sort(key=_entry_order)
        if len(self._heap) > self._window:
            self.horizon_ms = self._heap[self._window // 2][0]
            self._heap = [entry for entry in self._heap if entry[0] <= self.horizon_ms]
        if len(self._heap) > self._window:
            # Those that are due in one and the same millisecond cannot be parted. They stay, and
            # the next turns need not find that out again.
            self._draw_above = 2 * len(self._heap)
        return self.horizon_ms

    def move(self, horizon_ms: int, runs: Iterable[Run]) -> None:
        """Move the horizon on. `runs`: all that memory holds, whose later times now count."""
        before_ms = self.horizon_ms
        self.horizon_ms = horizon_ms
        self._draw_above = self._window
        for run in runs:
            waits: list[Job | Timed] = [*run.state.jobs, *run.state.times()]
            for wait in waits:
                if before_ms < wait.due_ms <= horizon_ms and _holds(run, wait, wait.due_ms):
                    self.push(run, wait)


def _entry_order(entry: _Entry) -> tuple[int, int]:
    return entry[0], entry[1]


def _holds(run: Run, wait: Job | Timed, due_ms: int) -> bool:
    """Whether the run still waits for this."""
    if isinstance(wait, Job):
        return wait.phase is Phase.WAITING and wait.due_ms == due_ms
    state = run.state
    held: Sequence[Timed]
    match wait:
        case Sleep():
            held = state.sleeps
        case Wait():
            held = state.waits
        case Deadline():
            held = state.deadlines
    return any(other is wait for other in held)
