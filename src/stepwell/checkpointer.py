"""The finished steps of one call on their way to the server.

A step is added when its body has returned. `add` says whether the call has to wait until the
server has it; steps that come while others are on their way leave together with the next report.
All methods may be called on any thread: branches of sync functions have threads of their own, and
answers come on the thread that reads the socket.

What is on its way has an order: `send` is never called while an earlier report is not answered.
Source: docs/reference/wire/checkpoints.md, "SDK".
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from stepwell.wire.ops import OPS_PER_RESPONSE_MAX

if TYPE_CHECKING:
    from stepwell.checkpointing import Checkpointing

REPORT_BYTES_MAX: Final = 2 * 2**20
"""One report has at least one operation, and no further one beyond this."""

TICK_S: Final = 0.05
_IDLE_TICKS_MAX: Final = 20


class Answer(Enum):
    """What became of a report."""

    STORED = "stored"
    STALE = "stale"  # the call is not the current one of its job any more, or its run is over
    FAILED = "failed"  # not stored; what ends the call brings the steps


Send: TypeAlias = Callable[[int, bytes, Callable[[Answer], None]], None]
"""Sends a report: its number from 0, a JSON array of operations, and who takes the answer."""


class Checkpointer:
    """See above.

    Args:
        config: When steps are reported.
        max_runtime_ms: After so long the call begins no further step; 0: no limit.
        is_leaving: Whether the process is ending, so that the call should too.
    """

    def __init__(
        self,
        config: Checkpointing,
        *,
        send: Send,
        max_runtime_ms: int = 0,
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._steps_max = config.buffered_steps
        self._bytes_max = config.max_bytes
        self.interval_s: Final = config.max_interval_ms / 1000
        self._send = send
        self._ends_at = time.monotonic() + max_runtime_ms / 1000 if max_runtime_ms else None
        self._is_leaving = is_leaving
        self._lock = threading.Lock()  # not held while `send` or a waiter is called
        self._waiting: list[bytes] = []  # operations that have not left
        self._waiting_bytes = 0
        self._oldest_at = 0.0
        self._sent: list[bytes] = []  # and those that were not answered yet
        self._added = 0
        self._stored = 0
        self._reports = 0
        self._waiters: list[tuple[int, Callable[[], None]]] = []
        self._settles = False
        self.ended: Answer | None = None
        """`STALE` or `FAILED` once a report was refused: nothing is sent any more."""

    @property
    def should_end(self) -> bool:
        """Whether the call should begin no further step."""
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            return True
        return self._is_leaving()

    @property
    def unreported(self) -> list[bytes]:
        """The operations that the server does not have. Nothing may be on its way."""
        with self._lock:
            return [*self._sent, *self._waiting]

    @property
    def unreported_bytes(self) -> int:
        """How large they are."""
        return self._waiting_bytes

    def add(self, op: bytes, *, durable: bool = False) -> int | None:
        """Take the operation of a finished step.

        Args:
            durable: Whatever the buffer has room for, the call waits for this one.
        Returns:
            What to wait for before the next step begins, perhaps to hear that nothing is sent any
            more; None: for nothing.
        """
        with self._lock:
            if not self._waiting:
                self._oldest_at = time.monotonic() if self.interval_s else 0.0
            self._waiting.append(op)
            self._waiting_bytes += len(op)
            self._added += 1
            if (
                durable
                or self.ended is not None
                or len(self._waiting) >= self._steps_max
                or self._waiting_bytes >= self._bytes_max
            ):
                return self._added
        return None

    def start(self) -> None:
        """Send what waits, unless an earlier report has not been answered: then with the next."""
        self._start()

    async def wait(self, ticket: int, *, gather: bool = False) -> None:
        """Wait until what `add` gave is stored, or nothing more is sent.

        Args:
            gather: Other steps end in this turn of the loop, and can leave with this one.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        thread_id = threading.get_ident()

        def wake() -> None:
            if threading.get_ident() == thread_id:
                _resolve(future)
                return
            try:
                loop.call_soon_threadsafe(_resolve, future)
            except RuntimeError:  # the loop has ended, and who waits with it
                return

        if not self._enlist(ticket, wake):
            return
        if gather:
            loop.call_soon(self._start)
        else:
            self._start()
        await future

    def wait_sync(self, ticket: int) -> None:
        """As `wait`, on a thread that may be blocked."""
        stored = threading.Event()
        if self._enlist(ticket, stored.set):
            self._start()
            stored.wait()

    async def settle(self, *, flush: bool) -> None:
        """The call ends: wait for what is on its way, and with `flush` for everything."""
        if (ticket := self._last(flush)) > self._stored:
            await self.wait(ticket)

    def settle_sync(self, *, flush: bool) -> None:
        """As `settle`."""
        if (ticket := self._last(flush)) > self._stored:
            self.wait_sync(ticket)

    def tick(self, now_s: float) -> None:
        """Send what has waited for `max_interval`."""
        if self._waiting and now_s - self._oldest_at >= self.interval_s:
            self._start(unless_settled=True)

    def _last(self, flush: bool) -> int:
        with self._lock:
            self._settles = True
            return self._added if flush else self._stored + len(self._sent)

    def _enlist(self, ticket: int, wake: Callable[[], None]) -> bool:
        """Whether there is anything to wait for; then `wake` is called once."""
        with self._lock:
            if self.ended is not None or ticket <= self._stored:
                return False
            self._waiters.append((ticket, wake))
            return True

    def _start(self, *, unless_settled: bool = False) -> None:
        """Send the next report, if none is on its way."""
        with self._lock:
            if unless_settled and self._settles:
                return  # the outcome brings them, and may be made already
            if self._sent or not self._waiting or self.ended is not None:
                return
            count, size = 0, 0
            for op in self._waiting:
                if count and (size + len(op) > REPORT_BYTES_MAX or count >= OPS_PER_RESPONSE_MAX):
                    break
                count += 1
                size += len(op)
            self._sent, self._waiting = self._waiting[:count], self._waiting[count:]
            self._waiting_bytes -= size
            self._oldest_at = time.monotonic() if self.interval_s else 0.0
            number, self._reports = self._reports, self._reports + 1
            body = b"[%b]" % b",".join(self._sent)
        try:
            self._send(number, body, self._answered)
        except RuntimeError:  # the loop that sends has ended
            self._answered(Answer.FAILED)

    def _answered(self, answer: Answer) -> None:
        with self._lock:
            sent, self._sent = self._sent, []
            if answer is Answer.STORED:
                self._stored += len(sent)
            else:
                self.ended = answer
                self._waiting[:0] = sent
                self._waiting_bytes += sum(map(len, sent))
            woken = [
                wake
                for ticket, wake in self._waiters
                if self.ended is not None or ticket <= self._stored
            ]
            if woken:
                self._waiters = (
                    [waiter for waiter in self._waiters if waiter[0] > self._stored]
                    if self.ended is None
                    else []
                )
            again = bool(self._waiters)
        for wake in woken:
            wake()
        if again:
            self._start()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():  # it is when the call was cancelled
        future.set_result(None)


class FlushClock:
    """Looks after steps that have waited for their `max_interval`, for all calls of a worker.

    Args:
        call_soon: Has the loop that looks call something; raises RuntimeError if it has ended.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._lock = threading.Lock()
        self._watched: dict[Checkpointer, None] = {}
        self._ticks = False
        self._idle_ticks = 0

    def watch(self, checkpointer: Checkpointer) -> None:
        """From now on, until `forget`."""
        with self._lock:
            self._watched[checkpointer] = None
            if self._ticks:
                return
            self._ticks, self._idle_ticks = True, 0
        try:
            self._call_soon(self._tick)
        except RuntimeError:  # the process is ending, and the calls' ends bring the steps
            return

    def forget(self, checkpointer: Checkpointer) -> None:
        """The call is over."""
        with self._lock:
            self._watched.pop(checkpointer, None)

    def _tick(self) -> None:
        with self._lock:
            watched = list(self._watched)
            self._idle_ticks = 0 if watched else self._idle_ticks + 1
            if self._idle_ticks > _IDLE_TICKS_MAX:
                self._ticks = False
                return
        now_s = time.monotonic()
        for checkpointer in watched:
            checkpointer.tick(now_s)
        asyncio.get_running_loop().call_later(TICK_S, self._tick)
