"""Noticing that the program's loop is blocked."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.connect import connection
from stepwell.connect.blocked import CHECKS, LoopWatch
from stepwell.connect.plan import Timing
from tests.unit.connect.loop import on_loop
from tests.unit.connect.story import declared, story

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell import Context


class Loop:
    """A loop that answers when the test wants it to."""

    def __init__(self) -> None:
        self.thread_id: int | None = None
        self.busy = True
        self.asked: list[Callable[[], None]] = []

    def is_busy(self) -> bool:
        return self.busy

    def ask(self, callback: Callable[[], None]) -> None:
        self.asked.append(callback)

    def answer(self) -> None:
        self.asked.pop()()

    def suspect(self) -> str:
        return "shop-ship (run run-1)"


def watched(loop: Loop, checks: int) -> LoopWatch:
    watch = LoopWatch(loop, blocked_after_ms=5_000)
    for _ in range(checks):
        watch.check()
    return watch


def test_loop_that_does_not_answer_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    watched(Loop(), 1 + 3 * CHECKS)

    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        "the event loop has been blocked for 5 s, probably by shop-ship (run run-1); "
        "use asyncio.to_thread or a sync function"
    )


def test_each_blockage_is_told(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    watch = watched(loop, 1 + CHECKS)
    loop.answer()

    for _ in range(1 + CHECKS):
        watch.check()

    assert len(caplog.records) == 2


def test_loop_that_answers_in_time_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    watch = watched(loop, 0)

    for _ in range(10):
        for _ in range(CHECKS):
            watch.check()
        loop.answer()

    assert caplog.records == []


def test_idle_loop_is_left_alone() -> None:
    loop = Loop()
    loop.busy = False

    watched(loop, 3)

    assert loop.asked == []


class Blocking:
    """An async function that blocks until the worker has said so."""

    def __init__(self) -> None:
        self.told = threading.Event()

    async def __call__(self, ctx: Context) -> bool:
        return await ctx.step.run("block", self.block)

    def block(self) -> bool:
        return self.told.wait(5)


class Records(logging.Handler):
    def __init__(self, told: threading.Event) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        if "blocked" in record.getMessage():
            self.records.append(record)
            self._told.set()


@pytest.mark.usefixtures("quick")
def test_blocking_function_is_named_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TIMING", Timing(blocked_after_ms=20))
    blocking = Blocking()
    records = Records(blocking.told)
    logging.getLogger("stepwell.connect").addHandler(records)

    @on_loop
    async def run() -> None:
        async with story(declared(blocking)) as told:
            peer = await told.ready()
            await peer.call()
            await peer.expect_ack()
            reply: Any = await peer.expect_reply()
            assert b"true" in reply.body

    try:
        run()
    finally:
        logging.getLogger("stepwell.connect").removeHandler(records)
    message = records.records[0].getMessage()
    assert "probably by shop-ship (run run-1)" in message
    assert "self.told.wait(5)" in message
    assert "stepwell/" not in message
