"""Finished steps on their way: what leaves together, in what order, and who is told."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.checkpointer import REPORT_BYTES_MAX, Answer, Checkpointer, FlushClock
from stepwell.checkpointing import PERFORMANT, SAFE, Checkpointing
from stepwell.wire.ops import OPS_PER_RESPONSE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

FULL_AT_TEN = Checkpointing(buffered_steps=10)


class Wire:
    """Holds reports until the test answers them."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, list[Any]]] = []
        self._done: list[Callable[[Answer], None]] = []
        self.left = threading.Semaphore(0)

    def send(self, number: int, steps: bytes, done: Callable[[Answer], None]) -> None:
        self.sent.append((number, msgspec.json.decode(steps)))
        self._done.append(done)
        self.left.release()

    def answer(self, answer: Answer = Answer.STORED) -> None:
        self._done.pop(0)(answer)


def waits(checkpointer: Checkpointer, ticket: int | None) -> threading.Thread:
    """A thread that waits for a step."""
    assert ticket is not None
    thread = threading.Thread(target=checkpointer.wait_sync, args=(ticket,), daemon=True)
    thread.start()
    return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


def test_step_that_fits_into_the_buffer_is_waited_for_by_nobody() -> None:
    wire = Wire()
    checkpointer = Checkpointer(FULL_AT_TEN, send=wire.send)

    assert [checkpointer.add(b"1") for _ in range(9)] == [None] * 9
    assert checkpointer.add(b"2") == 10
    assert wire.sent == []
    assert (checkpointer.unreported, checkpointer.unreported_bytes) == ([*[b"1"] * 9, b"2"], 10)


def test_what_comes_while_a_report_is_on_its_way_leaves_with_the_next() -> None:
    wire = Wire()
    checkpointer = Checkpointer(SAFE, send=wire.send)
    first = waits(checkpointer, checkpointer.add(b"1"))
    wire.left.acquire()
    others = [waits(checkpointer, checkpointer.add(b"%d" % number)) for number in (2, 3)]
    assert wire.sent == [(0, [1])]

    wire.answer()
    assert ended(first)
    wire.left.acquire(timeout=5)
    wire.answer()

    assert all(map(ended, others))
    assert wire.sent == [(0, [1]), (1, [2, 3])]
    assert checkpointer.unreported == []


def test_large_steps_leave_in_several_reports_one_after_the_other() -> None:
    wire = Wire()
    large = b'"%s"' % (b"x" * (REPORT_BYTES_MAX // 2))
    checkpointer = Checkpointer(FULL_AT_TEN, send=wire.send)
    for _ in range(3):
        ticket = checkpointer.add(large, durable=True)
    thread = waits(checkpointer, ticket)
    for number in range(3):
        assert wire.left.acquire(timeout=5)
        assert [each for each, _ in wire.sent] == list(range(number + 1))
        wire.answer()

    assert ended(thread)
    assert [len(steps) for _, steps in wire.sent] == [1, 1, 1]


def test_report_has_no_more_operations_than_the_server_takes() -> None:
    wire = Wire()
    checkpointer = Checkpointer(Checkpointing(buffered_steps=1_000), send=wire.send)
    for _ in range(OPS_PER_RESPONSE_MAX + 5):
        ticket = checkpointer.add(b"1")
    thread = waits(checkpointer, ticket)
    assert wire.left.acquire(timeout=5)
    wire.answer()
    assert wire.left.acquire(timeout=5)
    wire.answer()

    assert ended(thread)
    assert [len(steps) for _, steps in wire.sent] == [OPS_PER_RESPONSE_MAX, 5]


@pytest.mark.parametrize("answer", [Answer.STALE, Answer.FAILED])
def test_refusal_ends_all_waits_and_nothing_is_sent_any_more(answer: Answer) -> None:
    wire = Wire()
    checkpointer = Checkpointer(SAFE, send=wire.send)
    first = waits(checkpointer, checkpointer.add(b"1"))
    assert wire.left.acquire(timeout=5)
    second = waits(checkpointer, checkpointer.add(b"2"))
    wire.answer(answer)

    assert ended(first)
    assert ended(second)
    assert checkpointer.ended is answer
    assert checkpointer.unreported == [b"1", b"2"]
    later = Checkpointer.add(checkpointer, b"3")
    assert later == 3  # who waits for it hears at once that nothing is sent
    assert ended(waits(checkpointer, later))
    assert len(wire.sent) == 1


def test_full_buffer_or_not_what_follows_a_refusal_is_waited_for() -> None:
    checkpointer = Checkpointer(
        Checkpointing(buffered_steps=100, max_interval=1),
        send=lambda _number, _steps, done: done(Answer.STALE),
    )
    assert checkpointer.add(b"1") is None
    checkpointer.tick(float("inf"))

    assert checkpointer.add(b"2") is not None


def test_sender_that_has_ended_is_a_failed_report() -> None:
    def send(_number: int, _steps: bytes, _done: Callable[[Answer], None]) -> None:
        raise RuntimeError("Event loop is closed")

    checkpointer = Checkpointer(SAFE, send=send)

    assert ended(waits(checkpointer, checkpointer.add(b"1")))
    assert checkpointer.ended is Answer.FAILED
    assert checkpointer.unreported == [b"1"]


def test_settling_waits_for_what_is_on_its_way_and_leaves_the_rest() -> None:
    wire = Wire()
    checkpointer = Checkpointer(Checkpointing(buffered_steps=100, max_interval=1), send=wire.send)
    checkpointer.add(b"1")
    checkpointer.tick(float("inf"))
    checkpointer.add(b"2")
    thread = threading.Thread(target=checkpointer.settle_sync, kwargs={"flush": False}, daemon=True)
    thread.start()
    wire.answer()

    assert ended(thread)
    assert wire.sent == [(0, [1])]
    assert checkpointer.unreported == [b"2"]


def test_nothing_leaves_in_the_background_once_the_call_has_settled() -> None:
    wire = Wire()
    checkpointer = Checkpointer(PERFORMANT, send=wire.send)
    checkpointer.add(b"1")
    checkpointer.settle_sync(flush=False)
    checkpointer.tick(float("inf"))

    assert wire.sent == []
    assert checkpointer.unreported == [b"1"]


def test_step_is_not_sent_before_its_interval_is_over() -> None:
    wire = Wire()
    checkpointer = Checkpointer(PERFORMANT, send=wire.send)
    checkpointer.tick(float("inf"))
    checkpointer.add(b"1")
    checkpointer.tick(0.0)
    assert wire.sent == []
    checkpointer.tick(float("inf"))
    assert wire.sent == [(0, [1])]


def test_waiter_that_was_cancelled_is_not_missed() -> None:
    wire = Wire()

    async def story() -> None:
        checkpointer = Checkpointer(SAFE, send=wire.send)
        first = asyncio.create_task(checkpointer.wait(checkpointer.add(b"1") or 0))
        second = asyncio.create_task(checkpointer.wait(checkpointer.add(b"2") or 0))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        threading.Thread(target=wire.answer).start()
        async with asyncio.timeout(5):
            await second

    asyncio.run(story())
    assert wire.sent == [(0, [1, 2])]


def test_answer_after_the_loop_has_ended_is_taken() -> None:
    wire = Wire()
    checkpointer = Checkpointer(SAFE, send=wire.send)

    async def story() -> None:
        task = asyncio.create_task(checkpointer.wait(checkpointer.add(b"1") or 0))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(story())
    thread = threading.Thread(target=wire.answer)
    thread.start()
    assert ended(thread)
    assert checkpointer.unreported == []


def test_branches_that_end_in_one_turn_of_the_loop_leave_together() -> None:
    wire = Wire()

    async def story() -> None:
        checkpointer = Checkpointer(SAFE, send=wire.send)

        async def branch(number: int) -> None:
            await checkpointer.wait(checkpointer.add(b"%d" % number) or 0, gather=True)

        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(branch(number))
            while not wire.sent:  # noqa: ASYNC110 - the loop has to turn
                await asyncio.sleep(0)
            wire.answer()

    asyncio.run(story())
    assert [len(steps) for _, steps in wire.sent] == [50]


def test_many_threads_lose_nothing_and_reports_stay_in_order() -> None:
    seen: list[int] = []
    busy = threading.Lock()
    numbers: list[int] = []
    chance = random.Random(1)

    def send(number: int, steps: bytes, done: Callable[[Answer], None]) -> None:
        assert busy.acquire(blocking=False), "a report left before the last one was answered"
        numbers.append(number)

        def answer() -> None:
            seen.extend(msgspec.json.decode(steps))
            busy.release()
            done(Answer.STORED)

        if chance.random() < 0.5:
            answer()
        else:
            threading.Thread(target=answer, daemon=True).start()

    checkpointer = Checkpointer(Checkpointing(buffered_steps=3, max_interval=1), send=send)
    stop = threading.Event()

    def ticks() -> None:
        while not stop.is_set():
            checkpointer.tick(float("inf"))

    def branch(start: int) -> None:
        for number in range(start, start + 100):
            ticket = checkpointer.add(b"%d" % number, durable=number % 7 == 0)
            if ticket is not None:
                checkpointer.wait_sync(ticket)

    ticker = threading.Thread(target=ticks, daemon=True)
    ticker.start()
    threads = [threading.Thread(target=branch, args=(n * 100,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    assert all(map(ended, threads))
    checkpointer.settle_sync(flush=True)
    stop.set()

    assert ended(ticker)
    assert sorted(seen) == list(range(800))
    assert numbers == list(range(len(numbers)))
    for start in range(0, 800, 100):  # the steps of one branch are in the order of their ends
        assert [n for n in seen if start <= n < start + 100] == list(range(start, start + 100))


def test_clock_sends_what_has_waited_and_rests_without_calls() -> None:
    wire = Wire()

    async def story() -> int:
        loop = asyncio.get_running_loop()
        clock = FlushClock(loop.call_soon_threadsafe)
        checkpointer = Checkpointer(
            Checkpointing(buffered_steps=100, max_interval=1), send=wire.send
        )
        checkpointer.add(b"1")
        clock.watch(checkpointer)
        assert await asyncio.to_thread(wire.left.acquire, timeout=5)
        clock.forget(checkpointer)
        checkpointer.add(b"2")
        wire.answer()
        return len(wire.sent)

    assert asyncio.run(story()) == 1


def test_clock_whose_loop_has_ended_is_no_error() -> None:
    loop = asyncio.new_event_loop()
    clock = FlushClock(loop.call_soon_threadsafe)
    loop.close()
    wire = Wire()
    checkpointer = Checkpointer(PERFORMANT, send=wire.send)
    clock.watch(checkpointer)
    clock.forget(checkpointer)

    assert wire.sent == []
