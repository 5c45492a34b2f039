"""A server that takes the reports of a call which goes on, and the calls that make them."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.checkpointer import Answer, Checkpointer
from stepwell.checkpointing import SAFE, Checkpointing
from tests.unit.calls import call_async, call_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stepwell.outcome import Outcome


class Reports:
    """Takes reports, and answers each with the next of `answers`, then always `STORED`.

    Args:
        elsewhere: On another thread, as a socket's; else before `send` returns.
        on_report: Called with the number of each report before it is answered.
    """

    def __init__(
        self,
        answers: Iterable[Answer] = (),
        *,
        elsewhere: bool = False,
        on_report: Callable[[int], None] = lambda _number: None,
    ) -> None:
        self.taken: list[list[dict[str, Any]]] = []
        self.numbers: list[int] = []
        self.overlaps = 0
        """How often a report came before the one before it was answered."""
        self._answers = iter(answers)
        self._on_report = on_report
        self._open = 0
        self._elsewhere = elsewhere
        self._queue: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if elsewhere:
            self._thread.start()

    def send(self, number: int, steps: bytes, done: Callable[[Answer], None]) -> None:
        self.overlaps += self._open
        self._open += 1
        self.numbers.append(number)
        self.taken.append(msgspec.json.decode(steps))
        if self._elsewhere:
            self._queue.put((number, done))
        else:
            self._answer(number, done)

    def close(self) -> None:
        if self._elsewhere:
            self._queue.put(None)
            self._thread.join()

    @property
    def named(self) -> list[list[str]]:
        """The user's ids of the steps of each report."""
        return [[op["userland"]["id"] for op in report] for report in self.taken]

    @property
    def steps(self) -> list[str]:
        """Of all reports, in order."""
        return [step_id for report in self.named for step_id in report]

    def _answer(self, number: int, done: Callable[[Answer], None]) -> None:
        self._on_report(number)
        self._open -= 1
        done(next(self._answers, Answer.STORED))

    def _work(self) -> None:
        while (taken := self._queue.get()) is not None:
            self._answer(*taken)


class Caller:
    """Runs functions in one of the four ways: async or sync, answered at once or elsewhere."""

    def __init__(self, *, is_async: bool, elsewhere: bool) -> None:
        self.is_async = is_async
        self.elsewhere = elsewhere

    def call(
        self,
        asked: Callable[[Any], Any],
        config: Checkpointing = SAFE,
        steps: Any = None,
        *,
        answers: Iterable[Answer] = (),
        on_report: Callable[[int], None] = lambda _number: None,
        is_leaving: Callable[[], bool] = lambda: False,
        max_runtime_ms: int = 0,
        **options: Any,
    ) -> tuple[Outcome, Reports]:
        """What a call ends with, and what it reported before."""
        reports = Reports(answers, elsewhere=self.elsewhere, on_report=on_report)
        checkpointer = Checkpointer(
            config, send=reports.send, is_leaving=is_leaving, max_runtime_ms=max_runtime_ms
        )
        try:
            if self.is_async:

                async def handler(ctx: Any) -> Any:
                    return await asked(ctx)

                outcome = call_async(handler, steps, checkpointer=checkpointer, **options)
            else:
                outcome = call_sync(asked, steps, checkpointer=checkpointer, **options)
        finally:
            reports.close()
        assert reports.overlaps == 0
        assert reports.numbers == list(range(len(reports.numbers)))
        return outcome, reports
