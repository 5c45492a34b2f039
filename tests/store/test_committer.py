"""Commits on the loop while they are fast, in a thread while they are slow; told once, always."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from stepwell.errors import Fenced, Retryable, StoreError
from stepwell.store.committer import (
    BUCKETS_S,
    HOLD_FIRST_S,
    HOLD_MAX_S,
    SLOW_S,
    STALL_S,
    STALLS_WITHIN_S,
    THREAD_NAME,
    WINDOW_COMMITS,
    Committer,
    Pace,
)
from stepwell.store.memory import MemoryStore
from tests.store.stories import Story

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from stepwell.engine.rows import Write

FAST_S = SLOW_S / 4
TOO_SLOW_S = SLOW_S * 2
STALLED_S = STALL_S * 2


class Disk(MemoryStore):
    """A store whose commits take as long as they are told, by a clock of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.takes_s = FAST_S
        self.failure: Exception | None = None
        self.threads: list[str] = []
        self.gate: threading.Event | None = None  # holds a commit until it is set
        self.entered = threading.Event()

    def clock(self) -> float:
        return self.now_s

    def commit(self, writes: Sequence[Write]) -> None:
        self._work()
        super().commit(writes)

    def idle(self) -> None:
        self._work()

    def _work(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.entered.set()
        if self.gate is not None:
            self.gate.wait()
        self.now_s += self.takes_s
        if self.failure is not None:
            raise self.failure


class Server:
    """A committer and what it has told."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.story = Story()
        self.committer = Committer(self.disk, asyncio.get_running_loop(), clock=self.disk.clock)
        self.told: list[StoreError | None] = []

    async def commit(self, writes: Sequence[Write] | None = None) -> StoreError | None:
        """Commit and wait until it is told; by default one event."""
        return await self._wait(
            lambda done: self.committer.submit(
                [self.story.event()] if writes is None else writes, done
            )
        )

    async def idle(self) -> StoreError | None:
        return await self._wait(self.committer.idle)

    async def _wait(
        self, start: Callable[[Callable[[StoreError | None], None]], None]
    ) -> StoreError | None:
        told: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()

        def done(failure: StoreError | None) -> None:
            self.told.append(failure)
            told.set_result(failure)

        start(done)
        async with asyncio.timeout(10):
            return await told

    async def go_to_thread(self) -> None:
        """Make commits slow until they leave the loop."""
        self.disk.takes_s = TOO_SLOW_S
        await self.commit()
        await self.commit()
        self.disk.takes_s = FAST_S
        assert self.committer.uses_thread


def run(scenario: Callable[[Server], Coroutine[None, None, None]]) -> None:
    """Run an async test on a loop of its own."""

    async def main() -> None:
        server = Server()
        try:
            await scenario(server)
        finally:
            if server.disk.gate is not None:
                server.disk.gate.set()
            server.committer.close()

    asyncio.run(main())


def test_fast_commit_is_told_before_submit_returns() -> None:
    async def scenario(server: Server) -> None:
        event = server.story.event()
        told: list[tuple[StoreError | None, bool]] = []

        def done(failure: StoreError | None) -> None:
            stored = server.disk.reader().event(event.event_id) is not None
            told.append((failure, stored))

        server.committer.submit([event], done)
        assert told == [(None, True)]
        assert server.disk.threads == [threading.main_thread().name]
        assert not server.committer.busy

    run(scenario)


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("failure", [Retryable("full"), Fenced("taken"), StoreError("broken")])
def test_failure_is_told_as_it_is(failure: StoreError, in_thread: bool) -> None:
    async def scenario(server: Server) -> None:
        if in_thread:
            await server.go_to_thread()
        server.disk.failure = failure
        assert await server.commit() is failure
        server.disk.failure = None
        assert await server.commit() is None

    run(scenario)


@pytest.mark.parametrize("in_thread", [False, True])
def test_defect_is_told_as_a_store_error(in_thread: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: Server) -> None:
        if in_thread:
            await server.go_to_thread()
        server.disk.failure = AssertionError("a run is put once")
        failure = await server.commit()
        assert failure is not None
        assert failure.code == "internal_error"
        assert failure.__cause__ is server.disk.failure
        assert not server.committer.busy

    run(scenario)
    assert "a run is put once" in caplog.text


def test_slow_commits_move_to_a_named_thread_and_the_loop_goes_on() -> None:
    async def scenario(server: Server) -> None:
        await server.go_to_thread()
        server.disk.gate = threading.Event()
        server.disk.entered.clear()
        waiting = asyncio.create_task(server.commit())
        await asyncio.to_thread(server.disk.entered.wait)
        # The commit is in the store and stays there; here the loop runs.
        assert server.committer.busy
        assert not waiting.done()
        server.disk.gate.set()
        assert await waiting is None
        assert not server.committer.busy
        assert server.disk.threads[-1] == THREAD_NAME

    run(scenario)


def test_only_one_commit_at_a_time() -> None:
    async def scenario(server: Server) -> None:
        await server.go_to_thread()
        server.disk.gate = threading.Event()
        waiting = asyncio.create_task(server.commit())
        await asyncio.sleep(0)
        with pytest.raises(AssertionError, match="one commit at a time"):
            server.committer.submit([], server.told.append)
        with pytest.raises(AssertionError, match="one commit at a time"):
            server.committer.idle(server.told.append)
        server.disk.gate.set()
        assert await waiting is None

    run(scenario)


def test_commits_come_back_to_the_loop_when_they_are_fast() -> None:
    async def scenario(server: Server) -> None:
        await server.go_to_thread()
        await server.commit()
        assert server.committer.uses_thread
        server.disk.now_s += HOLD_FIRST_S
        await server.commit()
        assert not server.committer.uses_thread
        await server.commit()
        assert server.disk.threads[-1] == threading.main_thread().name

    run(scenario)


def test_outcome_may_submit_the_next_commit() -> None:
    async def scenario(server: Server) -> None:
        for _ in range(2):
            first, second = server.story.event(), server.story.event()
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def last(failure: StoreError | None, told: asyncio.Future[None] = told) -> None:
                assert failure is None
                told.set_result(None)

            server.committer.submit(
                [first],
                lambda _failure, second=second, last=last: server.committer.submit([second], last),  # type: ignore[misc]
            )
            await told
            found = server.disk.known_events([first.event_id, second.event_id])
            assert found == {first.event_id, second.event_id}
            if not server.committer.uses_thread:
                await server.go_to_thread()

    run(scenario)


@pytest.mark.parametrize("in_thread", [False, True])
def test_housekeeping_takes_the_place_of_a_commit(in_thread: bool) -> None:
    async def scenario(server: Server) -> None:
        if in_thread:
            await server.go_to_thread()
        before = server.committer.stats
        server.disk.takes_s = 10 * TOO_SLOW_S
        for _ in range(5):
            assert await server.idle() is None
        server.disk.failure = Retryable("full")
        assert await server.idle() is server.disk.failure
        assert server.committer.stats == before
        assert server.committer.uses_thread == in_thread
        wanted = THREAD_NAME if in_thread else threading.main_thread().name
        assert server.disk.threads[-1] == wanted

    run(scenario)


def test_close_waits_for_the_commit_that_is_out_and_tells_it_once() -> None:
    async def scenario(server: Server) -> None:
        await server.go_to_thread()
        event = server.story.event()
        told: list[StoreError | None] = []
        server.committer.submit([event], told.append)
        server.committer.close()
        assert told == [None]
        assert server.disk.known_events([event.event_id])
        assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
        await asyncio.sleep(0)  # what the thread has asked of the loop finds nothing to tell
        assert told == [None]
        server.committer.close()
        with pytest.raises(AssertionError, match="closed"):
            server.committer.submit([], told.append)

    run(scenario)


def test_loop_that_is_closed_first_leaves_the_outcome_to_close() -> None:
    told: list[StoreError | None] = []
    servers: list[Server] = []

    async def main() -> None:
        server = Server()
        servers.append(server)
        await server.go_to_thread()
        server.disk.gate = threading.Event()
        server.committer.submit([server.story.event()], told.append)

    asyncio.run(main())
    (server,) = servers
    assert server.disk.gate is not None
    server.disk.gate.set()
    server.committer.close()
    assert told == [None]


def test_commits_are_counted() -> None:
    async def scenario(server: Server) -> None:
        await server.commit()
        await server.commit([server.story.event(), server.story.event()])
        server.disk.failure = Retryable("full")
        await server.commit()
        server.disk.failure = None
        await server.go_to_thread()
        server.disk.takes_s = 5.0
        await server.commit()
        stats = server.committer.stats
        assert (stats.commits, stats.writes, stats.failures) == (6, 6, 1)
        assert (stats.in_thread, stats.moves) == (1, 1)
        assert stats.seconds == pytest.approx(3 * FAST_S + 2 * TOO_SLOW_S + 5.0)
        by_bound = dict(zip((*BUCKETS_S, float("inf")), stats.durations, strict=True))
        assert {bound: count for bound, count in by_bound.items() if count} == {
            0.001: 3,
            0.01: 2,
            float("inf"): 1,
        }

    run(scenario)


# --- the decision alone ---


class Commits:
    """Tells a pace of commits, one after another in time."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.now_s = 0.0

    def make(self, count: int, takes_s: float, pause_s: float = 0.0) -> None:
        for _ in range(count):
            self.now_s += takes_s + pause_s
            self.pace.record(takes_s, self.now_s)


def test_one_slow_commit_in_a_hundred_is_let_pass() -> None:
    commits = Commits()
    for _ in range(10):
        commits.make(1, STALL_S)
        commits.make(WINDOW_COMMITS - 1, FAST_S)
    assert not commits.pace.in_thread


def test_two_slow_commits_in_a_hundred_leave_the_loop() -> None:
    commits = Commits()
    commits.make(1, TOO_SLOW_S)
    commits.make(WINDOW_COMMITS - 2, FAST_S)
    commits.make(1, TOO_SLOW_S)
    assert commits.pace.in_thread


def test_second_stall_in_a_short_time_leaves_the_loop_however_many_were_fast_between() -> None:
    commits = Commits()
    commits.make(1, STALLED_S)
    commits.make(WINDOW_COMMITS * 5, FAST_S)
    assert not commits.pace.in_thread
    commits.make(1, STALLED_S)
    assert commits.pace.in_thread


def test_rare_stalls_are_let_pass() -> None:
    commits = Commits()
    for _ in range(10):
        commits.make(1, STALLED_S, pause_s=STALLS_WITHIN_S)
        commits.make(WINDOW_COMMITS, FAST_S)
    assert not commits.pace.in_thread


def test_one_stall_ends_a_trial() -> None:
    commits = Commits()
    commits.make(2, STALLED_S)
    commits.make(2, FAST_S, pause_s=HOLD_FIRST_S)
    assert commits.pace.in_thread  # a stall of the disk shows itself but now and then
    commits.make(1, FAST_S, pause_s=STALLS_WITHIN_S)
    assert not commits.pace.in_thread
    commits.make(WINDOW_COMMITS, FAST_S, pause_s=STALLS_WITHIN_S / WINDOW_COMMITS)
    commits.make(1, STALLED_S)
    assert commits.pace.in_thread


def test_disk_that_stalls_each_second_stalls_the_loop_once_a_minute() -> None:
    commits = Commits()
    stalls = 0
    for _ in range(600):
        stalls += not commits.pace.in_thread
        commits.make(1, STALLED_S)
        commits.make(9, FAST_S, pause_s=0.1)
    assert 600 / HOLD_MAX_S <= stalls <= 600 / HOLD_MAX_S + 4


def test_commits_that_are_all_slow_stay_in_the_thread() -> None:
    commits = Commits()
    commits.make(2, TOO_SLOW_S)
    commits.make(100_000, TOO_SLOW_S)
    assert commits.pace.in_thread
    assert commits.pace.moves == 1
    commits.make(1, FAST_S)
    commits.make(1, FAST_S, pause_s=HOLD_FIRST_S)
    assert not commits.pace.in_thread


def test_busy_loop_does_not_keep_fast_commits_in_the_thread() -> None:
    """Most of them seem slow there, since they wait for the interpreter."""
    commits = Commits()
    commits.make(2, TOO_SLOW_S)
    for number in range(1_000):
        commits.make(1, FAST_S if number % 20 == 0 else TOO_SLOW_S)
        if not commits.pace.in_thread:
            break
    assert not commits.pace.in_thread


def test_trials_grow_rarer_while_they_fail_and_then_begin_anew() -> None:
    commits = Commits()

    def hold_s() -> float:
        """Make slow and fast commits until they have left the loop and come back to it."""
        commits.make(2, TOO_SLOW_S)
        assert commits.pace.in_thread
        left_s = commits.now_s
        while commits.pace.in_thread:
            commits.make(1, FAST_S, pause_s=0.1)
        return commits.now_s - left_s

    holds = [round(hold_s()) for _ in range(7)]
    assert holds == [2, 4, 8, 16, 32, 60, 60]
    commits.make(1, FAST_S, pause_s=HOLD_MAX_S)
    commits.make(WINDOW_COMMITS, FAST_S)
    assert round(hold_s()) == HOLD_FIRST_S
