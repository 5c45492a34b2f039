"""Reports of calls that go on, until the server has answered them.

What was sent on a socket that is lost is sent again on the next one: the server takes the same
steps twice. Belongs to whoever holds the worker's lock. Source: docs/reference/wire/checkpoints.md,
"on the socket".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from stepwell.checkpointer import Answer
from stepwell.wire.connect import WorkerCheckpointData

Done: TypeAlias = Callable[[Answer], None]

_STALE = frozenset({"call_stale", "run_not_found"})


class Report(msgspec.Struct, frozen=True):
    """A report, serialised, and who takes the answer."""

    request_id: str
    number: int
    payload: bytes
    done: Done


class Checkpoints:
    """One report at a time of each call, in the order in which they were made."""

    def __init__(self) -> None:
        self._waiting: dict[str, Report] = {}

    def add(self, request_id: str, run_id: str, number: int, steps: bytes, done: Done) -> Report:
        """A report that is to be sent."""
        data = WorkerCheckpointData(request_id=request_id, run_id=run_id, seq=number, steps=steps)
        report = Report(request_id, number, data.SerializeToString(), done)
        self._waiting[request_id] = report
        return report

    def answered(self, request_id: str, number: int, refusal: str) -> None:
        """The server has stored a report, or refused it for a reason."""
        report = self._waiting.get(request_id)
        if report is None or report.number != number:
            return  # an answer to what was sent twice
        del self._waiting[request_id]
        if not refusal:
            report.done(Answer.STORED)
        else:
            report.done(Answer.STALE if refusal in _STALE else Answer.FAILED)

    @property
    def waiting_count(self) -> int:
        """How many reports the server has not answered."""
        return len(self._waiting)

    def waiting(self) -> list[Report]:
        """What to send on a new socket."""
        return list(self._waiting.values())

    def give_up(self) -> None:
        """They are sent no more: the ends of the calls bring the steps."""
        waiting, self._waiting = self._waiting, {}
        for report in waiting.values():
            report.done(Answer.FAILED)

    def dropped(self, request_id: str) -> None:
        """The call is over."""
        self._waiting.pop(request_id, None)
