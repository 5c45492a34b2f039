"""Rows that memory follows row by row: what is watched for, errands, schedules. Invariant 19."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from stepwell.engine.errands import _encode
from stepwell.engine.rows import (
    DeleteErrand,
    DeleteLive,
    DeleteSchedule,
    DeleteWatch,
    PutErrand,
    PutLive,
    PutSchedule,
    PutWatch,
    WatchKind,
)
from stepwell.engine.state import WaitKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stepwell.engine.partition import Partition
    from stepwell.engine.rows import Write
    from stepwell.engine.state import RunState
    from stepwell.wire.ids import RunId

WatchKey: TypeAlias = tuple[WatchKind, str, str, bytes, bytes]
"""Kind, subject, path, value, id."""


class Followed:
    """The rows as the commits leave them."""

    def __init__(self) -> None:
        self.watches: dict[WatchKey, RunId] = {}
        self.errands: dict[bytes, bytes] = {}
        self.schedules: dict[tuple[int, str], int] = {}
        self._of_run: dict[RunId, set[WatchKey]] = {}

    def take(self, writes: Iterable[Write], states: Mapping[RunId, RunState]) -> None:
        """Apply a commit and check the watches of all runs that it touches.

        Args:
            states: Of the runs that live, after the commit.
        """
        touched: dict[RunId, None] = {}
        signals: dict[str, None] = {}
        for row in writes:
            match row:
                case PutWatch():
                    key = watch_key(row)
                    assert key not in self.watches, "19: a watch is put once"
                    self.watches[key] = row.run_id
                    self._of_run.setdefault(row.run_id, set()).add(key)
                    touched[row.run_id] = None
                    if row.kind is WatchKind.SIGNAL:
                        signals[row.subject] = None
                case DeleteWatch():
                    key = watch_key(row)
                    run_id = self.watches.pop(key, None)
                    replaced = run_id is None and row.kind is WatchKind.SIGNAL
                    assert run_id is not None or replaced, "19: only a watch that is there ends"
                    if run_id is not None:
                        self._of_run[run_id].discard(key)
                        touched[run_id] = None
                case PutErrand():
                    self.errands[row.errand_id] = row.body
                case DeleteErrand():
                    assert row.errand_id in self.errands, "19: an errand is done once"
                    del self.errands[row.errand_id]
                case PutSchedule():
                    self.schedules[row.function_no, row.cron] = row.last_ms
                case DeleteSchedule():
                    del self.schedules[row.function_no, row.cron]
                case PutLive() | DeleteLive():
                    touched[row.run_id] = None
                case _:
                    pass
        for run_id in touched:
            self._check_run(run_id, states.get(run_id))
        for signal in signals:
            assert len(self.waiters(signal)) <= 1, "19: one run waits for a signal"

    def waiters(self, signal: str) -> list[WatchKey]:
        """Who waits for a signal."""
        return [key for key in self.watches if key[:2] == (WatchKind.SIGNAL, signal)]

    def _check_run(self, run_id: RunId, state: RunState | None) -> None:
        seen = self._of_run.get(run_id, set())
        if state is None:
            assert not seen, "19: a run that is over watches for nothing"
            self._of_run.pop(run_id, None)
            return
        wanted, signals = set[WatchKey](), set[WatchKey]()
        for wait in state.waits:
            if wait.kind is WaitKind.EVENT:
                wanted.add((WatchKind.EVENT, wait.subject, wait.path, wait.value, wait.watch_id))
            elif wait.kind is WaitKind.SIGNAL:
                signals.add((WatchKind.SIGNAL, wait.subject, "", b"", wait.watch_id))
        for cancel in state.cancels:
            key = (WatchKind.EVENT, cancel.event, cancel.path, cancel.value, cancel.watch_id)
            wanted.add(key)
        assert wanted <= seen, "19: what waits for an event has its watch"
        # Another run may have taken the place of one that waits for a signal.
        assert seen <= wanted | signals, "19: a watch is of something that waits"


def watch_key(row: PutWatch | DeleteWatch) -> WatchKey:
    return (row.kind, row.subject, row.path, row.value, row.watch_id)


def check_followed(followed: Followed, partition: Partition) -> None:
    """19: memory counts, lists and times what the rows say."""
    counts: dict[str, Counter[str]] = {}
    for kind, subject, path, _value, _watch_id in followed.watches:
        if kind is WatchKind.EVENT:
            counts.setdefault(subject, Counter())[path] += 1
    assert partition.watches._paths == counts, "19: memory counts the watches that there are"
    errands = {key: _encode(errand) for key, errand in partition.errands._errands.items()}
    assert errands == followed.errands, "19: memory has the errands that there are"
    assert list(errands) == sorted(errands), "19: errands are done in order"
    schedules = partition.schedules._schedules
    last = {key: schedule.last_ms for key, schedule in schedules.items()}
    assert last == followed.schedules, "19: memory has the schedules that there are"
    heap = {(fire_ms, (no, cron)) for fire_ms, no, cron in partition.schedules._heap}
    for key, schedule in schedules.items():
        assert not schedule.fire_ms or (schedule.fire_ms, key) in heap, "19: a schedule fires"
