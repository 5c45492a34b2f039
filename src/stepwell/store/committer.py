"""The one place that turns a list of writes into a durable commit.

On the loop's thread while commits are fast: the hand-over to a thread and back costs a busy loop 18
to 25 % of its throughput (it fights for the interpreter's lock). In a thread of its own when they
are slow: a disk that stalls must not stall heartbeats and requests. `Pace` decides which.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from stepwell.errors import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from stepwell.engine.rows import Write
    from stepwell.store.interface import Store

_log = logging.getLogger(__name__)

SLOW_S: Final = 0.004
"""A commit that takes longer holds up the loop noticeably: a step over Connect takes 1 ms."""

WINDOW_COMMITS: Final = 100
SLOW_COMMITS: Final = 2
"""So many slow ones among the last hundred: their p99 is slow. One is a checkpoint of the log."""

STALL_S: Final = 0.025
STALLS_WITHIN_S: Final = 10.0
"""Two commits that take longer than `STALL_S` within this time are too many, however many fast ones
lie between: with 500 commits a second, a disk that stalls once in each has a p99 that is fast, and
yet every request and heartbeat that comes during a stall waits for its end."""

HOLD_FIRST_S: Final = 2.0
HOLD_MAX_S: Final = 60.0
"""How long commits stay in the thread before the loop is tried again. Twice as long each time that
a trial fails within `HOLD_MAX_S`: by one stall, or as any time. After a stall they stay for
`STALLS_WITHIN_S` at least. So a disk that stalls now and then costs one stall a minute."""

BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
"""Upper bounds of the counts in `CommitStats.durations`; one more count is for what took longer."""

THREAD_NAME: Final = "stepwell-committer"

Done: TypeAlias = Callable[[StoreError | None], None]


class CommitStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start. `durations` counts commits by `BUCKETS_S`, failed ones too."""

    commits: int
    writes: int
    failures: int
    in_thread: int
    moves: int
    seconds: float
    durations: tuple[int, ...]


class Pace:
    """Decides where the next commit is made, from how long the last ones took.

    Durations in the thread say little about the disk when the loop is busy: each return from the
    disk waits for the interpreter's lock, up to 5 ms. Only the quickest of them counts, and whether
    the loop can have the commits back is found out by trying.
    """

    def __init__(self) -> None:
        self.in_thread = False
        self.moves = 0
        self._commits = 0
        self._slow: deque[int] = deque()  # numbers of the slow ones among the last hundred
        self._stalled_s = float("-inf")
        self._since_s = 0.0
        self._hold_s = HOLD_FIRST_S
        self._quickest_s = float("inf")

    def record(self, took_s: float, now_s: float) -> None:
        """A commit has ended."""
        self._commits += 1
        if self.in_thread:
            self._quickest_s = min(self._quickest_s, took_s)
            if now_s - self._since_s >= self._hold_s:
                self._try_loop(now_s)
        elif took_s > SLOW_S and self._is_too_much(took_s, now_s):
            self._leave_loop(now_s, STALLS_WITHIN_S if took_s > STALL_S else HOLD_FIRST_S)

    def _is_too_much(self, took_s: float, now_s: float) -> bool:
        """Whether a slow commit is the last that the loop had to wait for."""
        self._slow.append(self._commits)
        while self._slow[0] <= self._commits - WINDOW_COMMITS:
            self._slow.popleft()
        if len(self._slow) >= SLOW_COMMITS:
            return True
        if took_s <= STALL_S:
            return False
        before_s, self._stalled_s = self._stalled_s, now_s
        return self._is_trial(now_s) or now_s - before_s < STALLS_WITHIN_S

    def _is_trial(self, now_s: float) -> bool:
        """While on the loop: whether it has had the commits back for a short time only."""
        return self.moves > 0 and now_s - self._since_s < HOLD_MAX_S

    def _leave_loop(self, now_s: float, hold_least_s: float) -> None:
        hold_s = 2 * self._hold_s if self._is_trial(now_s) else 0.0
        self._hold_s = min(max(hold_s, hold_least_s), HOLD_MAX_S)
        self._move(now_s)
        _log.debug("commits are slow; they leave the event loop", extra={"hold_s": self._hold_s})

    def _try_loop(self, now_s: float) -> None:
        if self._quickest_s > SLOW_S:
            self._since_s = now_s  # not one was fast: no need to try
            self._quickest_s = float("inf")
            return
        self._move(now_s)
        _log.debug("commits are made on the event loop again")

    def _move(self, now_s: float) -> None:
        self.in_thread = not self.in_thread
        self.moves += 1
        self._since_s = now_s
        self._slow.clear()
        self._quickest_s = float("inf")


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work for the store. `writes` is None for housekeeping."""

    work: Callable[[], None]
    writes: int | None
    done: Done


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    job: _Job
    failure: StoreError | None
    took_s: float
    in_thread: bool


class Committer:
    """Commits one list of writes at a time.

    Belongs to one loop and is called on its thread. While `busy`, the store is not to be used.

    Args:
        store: Whose `commit` and `idle` are called.
        loop: On which `done` is called.
        clock: Seconds, for durations.
    """

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._store = store
        self._loop = loop
        self._clock = clock
        self._pace = Pace()
        self._busy = False
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._landed: _Outcome | None = None  # made by the thread and not yet told
        self._commits = 0
        self._writes = 0
        self._failures = 0
        self._in_thread = 0
        self._seconds = 0.0
        self._durations = [0] * (len(BUCKETS_S) + 1)

    @property
    def busy(self) -> bool:
        """Whether a commit or housekeeping is out."""
        return self._busy

    @property
    def uses_thread(self) -> bool:
        """Whether the next commit is made in the thread."""
        return self._pace.in_thread

    @property
    def stats(self) -> CommitStats:
        return CommitStats(
            commits=self._commits,
            writes=self._writes,
            failures=self._failures,
            in_thread=self._in_thread,
            moves=self._pace.moves,
            seconds=self._seconds,
            durations=tuple(self._durations),
        )

    def submit(self, writes: Sequence[Write], done: Done) -> None:
        """Commit writes; only when the last commit is done.

        Args:
            done: Called once, on the loop's thread, with None if the writes are durable, else with
                the reason why nothing was stored: a `Retryable`, a `Fenced`, another `StoreError`,
                or one with the code `internal_error` round a defect. It is called before this
                returns if the commit was made here; it may submit again.
        """
        self._start(_Job(work=lambda: self._store.commit(writes), writes=len(writes), done=done))

    def idle(self, done: Done) -> None:
        """Let the store tidy up (`Store.idle`), in the place of a commit; `done` as in `submit`.

        For a moment when nothing happens. Its duration counts nowhere.
        """
        self._start(_Job(work=self._store.idle, writes=None, done=done))

    def close(self) -> None:
        """Wait for the commit that is out and tell its outcome; end the thread. Idempotent."""
        self._closed = True
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
            self._tell()

    def _start(self, job: _Job) -> None:
        assert not self._busy, "one commit at a time"
        assert not self._closed, "a closed committer commits nothing"
        self._busy = True
        if not self._pace.in_thread:
            self._finish(self._carry_out(job, in_thread=False))
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _carry_out(self, job: _Job, *, in_thread: bool) -> _Outcome:
        failure: StoreError | None = None
        begun_s = self._clock()
        try:
            job.work()
        except StoreError as error:
            failure = error
        except Exception as error:
            # A defect of ours. Whoever waits for the commit must hear of it in either thread, and
            # what a failed commit costs is what it should cost: the partition is built again.
            _log.exception("the store failed on a commit")
            failure = StoreError(f"the store failed on a commit: {error!r}", code="internal_error")
            failure.__cause__ = error
        took_s = self._clock() - begun_s
        return _Outcome(job=job, failure=failure, took_s=took_s, in_thread=in_thread)

    def _finish(self, outcome: _Outcome) -> None:
        job = outcome.job
        if job.writes is not None:
            self._commits += 1
            self._seconds += outcome.took_s
            self._durations[bisect_left(BUCKETS_S, outcome.took_s)] += 1
            self._in_thread += outcome.in_thread
            if outcome.failure is None:
                self._writes += job.writes
            else:
                self._failures += 1
            self._pace.record(outcome.took_s, self._clock())
        self._busy = False
        job.done(outcome.failure)

    # --- the thread ---

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._landed = self._carry_out(job, in_thread=True)
            try:
                self._loop.call_soon_threadsafe(self._tell)
            except RuntimeError:
                _log.warning("the event loop was closed before the committer")
                return  # `close` tells the outcome

    def _tell(self) -> None:
        """On the loop: pass on what the thread has done, unless `close` did so already."""
        outcome, self._landed = self._landed, None
        if outcome is not None:
            self._finish(outcome)
