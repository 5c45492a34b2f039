"""Brings runs from the store into the partition: at start, and when its windows run low."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.wire.ids import RunId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepwell.engine.partition import Partition
    from stepwell.engine.rows import PutErrand
    from stepwell.store.interface import Store

PAGE_RUNS = 1_000
LOOK_AHEAD_MS = 5 * 60_000
"""Runs that are due sooner than this are in memory."""

PAGES_PER_TURN = 4
"""More are left for the next turn, so that the first of many late runs go on at once."""


def load_partition(store: Store, partition: Partition, now_ms: int) -> None:
    """Fill an empty partition: apps and functions, calls that are out, what is due soon."""
    apps, functions = store.load_catalog()
    partition.load_catalog(
        apps,
        functions,
        store.queued_functions(),
        transports=store.load_transports(),
        routes=store.load_routes(),
    )
    partition.load_rest(
        watched=store.load_watched(),
        errands=all_errands(store),
        schedules=store.load_schedules(),
    )
    # Calls that are out have the time 0. All of them are needed, or their workers' replies would
    # be refused.
    after: tuple[int, RunId] | None = None
    while True:
        page = store.scan_due(until_ms=0, after=after, limit=PAGE_RUNS)
        partition.load(page, now_ms)
        if len(page) < PAGE_RUNS:
            break
        after = (0, page[-1].run_id)
    load_wanted(store, partition, now_ms)


def all_errands(store: Store) -> Iterator[PutErrand]:
    """What is still to be done, in order."""
    after = b""
    while page := store.scan_errands(after=after, limit=PAGE_RUNS):
        yield from page
        after = page[-1].errand_id


def load_wanted(store: Store, partition: Partition, now_ms: int) -> None:
    """Fill up queues that run low, and move the horizon when time has reached it."""
    for function_no, place in partition.wanted_queues():
        page = store.scan_queued(function_no, after=place, limit=PAGE_RUNS)
        partition.load(page, now_ms)
        last = page[-1] if page else None
        partition.queue_loaded(
            function_no,
            None if last is None else (last.queued_score or 0, last.run_id),
            more=len(page) == PAGE_RUNS,
        )
    if now_ms >= partition.horizon_ms:
        _move_horizon(store, partition, now_ms)


def _move_horizon(store: Store, partition: Partition, now_ms: int) -> None:
    """Load what is due between the horizon and five minutes from now, or as far as it goes."""
    before_ms = partition.horizon_ms
    until_ms = now_ms + LOOK_AHEAD_MS
    after = (before_ms, RunId(b"\xff" * 16))
    pages = 0
    while True:
        page = store.scan_due(until_ms=until_ms, after=after, limit=PAGE_RUNS)
        partition.load(page, now_ms)
        if len(page) < PAGE_RUNS:
            partition.move_horizon(until_ms)
            return
        last = page[-1]
        assert last.wake_at_ms is not None, "what is due has a time"
        after = (last.wake_at_ms, last.run_id)
        pages += 1
        # Others may be due in the same millisecond as the last one, so it is not complete.
        if pages >= PAGES_PER_TURN and last.wake_at_ms - 1 > before_ms:
            partition.move_horizon(last.wake_at_ms - 1)
            return
