"""The contract of `Reader`'s lists, of every store: order, bounds and filters."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.engine.rows import PutEvent, PutRun, RunStatus, UpdateRun
from stepwell.store.interface import LISTED_OUTPUT_BYTES_MAX
from stepwell.store.sqlite.reader import MERGE_ROWS
from stepwell.wire.ids import EventId, RunId, ulid_bytes

if TYPE_CHECKING:
    from stepwell.store.interface import EventRecord, Reader, RunRecord, Store
    from tests.store.stories import Story

pytestmark = pytest.mark.store

replace = msgspec.structs.replace

FUNCTIONS = (1, 2, 300)
STATUSES = (RunStatus.SCHEDULED, RunStatus.RUNNING, RunStatus.COMPLETED, RunStatus.FAILED)


def put_runs(store: Store, story: Story, count: int = 300) -> list[PutRun]:
    """Store runs of all functions and statuses, several in a millisecond; in order of id.

    Of each function and status there are more than SQLite's reader reads of a range at a time.
    """
    assert count > MERGE_ROWS * len(FUNCTIONS) * len(STATUSES)
    kinds = itertools.cycle(itertools.product(FUNCTIONS, STATUSES, range(2)))
    rows: list[PutRun] = []
    for number, (function_no, status, _) in zip(range(count), kinds, strict=False):
        story.tick(number % 3 == 0)
        rows.append(
            PutRun(
                run_id=RunId(story.ulid()),
                function_no=function_no,
                event_id=EventId(story.ulid()),
                status=status,
            )
        )
    store.commit(rows)
    return sorted(rows, key=lambda row: row.run_id)


def ids(found: list[RunRecord]) -> list[RunId]:
    return [run.run_id for run in found]


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("statuses", [(), (RunStatus.FAILED,), STATUSES[:2], (RunStatus.SKIPPED,)])
@pytest.mark.parametrize("function_nos", [None, (), (2,), (300, 1), (7,), (2, 2)])
def test_runs_by_function_and_status(
    store: Store,
    reader: Reader,
    story: Story,
    newest_first: bool,
    statuses: tuple[RunStatus, ...],
    function_nos: tuple[int, ...] | None,
) -> None:
    rows = put_runs(store, story)
    wanted = [
        row.run_id
        for row in rows
        if (not statuses or row.status in statuses)
        and (function_nos is None or row.function_no in function_nos)
    ]
    if newest_first:
        wanted.reverse()
    filters: dict[str, Any] = {
        "statuses": statuses,
        "function_nos": function_nos,
        "newest_first": newest_first,
    }
    assert ids(reader.runs(**filters, limit=1_000)) == wanted
    assert ids(reader.runs(**filters, limit=7)) == wanted[:7]
    assert ids(reader.runs(**filters, limit=0)) == []
    counted = {name: value for name, value in filters.items() if name != "newest_first"}
    assert reader.count_runs(**counted, most=1_000) == len(wanted)
    assert reader.count_runs(**counted, most=7) == min(7, len(wanted))

    paged: list[RunId] = []
    while True:
        side = "before" if newest_first else "after"
        bound: dict[str, Any] = {side: paged[-1]} if paged else {}
        page = ids(reader.runs(**filters, **bound, limit=7))
        if not page:
            break
        paged += page
    assert paged == wanted


@pytest.mark.parametrize("function_nos", [None, FUNCTIONS])
def test_runs_between_ids_and_times(
    store: Store, reader: Reader, story: Story, function_nos: tuple[int, ...] | None
) -> None:
    rows = put_runs(store, story)
    run_ids = [row.run_id for row in rows]
    first_ms = story.now_ms - 30
    last_ms = story.now_ms - 10
    times = {row.run_id: int.from_bytes(row.run_id[:6], "big") for row in rows}

    def found(**bounds: Any) -> list[RunId]:
        return ids(
            reader.runs(function_nos=function_nos, newest_first=False, limit=1_000, **bounds)
        )

    assert found(after=run_ids[10], before=run_ids[20]) == run_ids[11:20]
    assert found(after=run_ids[20], before=run_ids[10]) == []
    assert found(queued_from_ms=first_ms, queued_until_ms=last_ms) == [
        run_id for run_id in run_ids if first_ms <= times[run_id] < last_ms
    ]
    assert found(queued_from_ms=first_ms, after=run_ids[60]) == [
        run_id for run_id in run_ids if first_ms <= times[run_id] and run_id > run_ids[60]
    ]
    sides: list[dict[str, Any]] = [{"queued_from_ms": first_ms}, {"queued_until_ms": last_ms}]
    for bounds in sides:
        count = reader.count_runs(function_nos=function_nos, **bounds, most=1_000)
        assert count == len(found(**bounds))
    assert found(queued_from_ms=-5, queued_until_ms=2**60) == run_ids
    assert found(queued_from_ms=2**48) == []
    assert found(queued_until_ms=-5) == []


def test_runs_move_between_lists_as_their_status_changes(
    store: Store, reader: Reader, story: Story
) -> None:
    run_id, intake = story.intake()
    store.commit(intake)
    assert ids(reader.runs(statuses=[RunStatus.RUNNING], limit=9)) == [run_id]
    store.commit(story.end(run_id))
    assert ids(reader.runs(statuses=[RunStatus.RUNNING], limit=9)) == []
    assert ids(reader.runs(statuses=[RunStatus.COMPLETED], limit=9)) == [run_id]
    assert ids(reader.runs(function_nos=[1], limit=9)) == [run_id]


# --- events ---

NAMES = ("a", "b/c", "inngest/function.finished", "inngest/function.failed", "Inngest/not-internal")


def put_events(store: Store, story: Story, count: int = 100) -> list[PutEvent]:
    """Store events of all names, several in a millisecond; newest first."""
    rows = []
    for number in range(count):
        story.tick(number % 3 == 0)
        rows.append(story.event(name=NAMES[number % len(NAMES)]))
    store.commit(rows)
    return sorted(rows, key=lambda row: row.event_id, reverse=True)


def event_ids(found: list[EventRecord]) -> list[EventId]:
    return [event.event_id for event in found]


@pytest.mark.parametrize("include_internal", [True, False])
@pytest.mark.parametrize("name", [None, *NAMES, "unknown", ""])
def test_events_by_name(
    store: Store, reader: Reader, story: Story, name: str | None, include_internal: bool
) -> None:
    rows = put_events(store, story)
    wanted = [
        row.event_id
        for row in rows
        if (name is None or row.name == name)
        and (include_internal or not row.name.startswith("inngest/"))
    ]
    filters: dict[str, Any] = {"name": name, "include_internal": include_internal}
    assert event_ids(reader.events(**filters, limit=1_000)) == wanted
    assert event_ids(reader.events(**filters, limit=3)) == wanted[:3]
    assert event_ids(reader.events(**filters, limit=0)) == []
    assert reader.count_events(**filters, most=1_000) == len(wanted)
    assert reader.count_events(**filters, most=3) == min(3, len(wanted))

    paged: list[EventId] = []
    while page := event_ids(reader.events(**filters, before=paged[-1] if paged else None, limit=7)):
        paged += page
    assert paged == wanted


@pytest.mark.parametrize("name", [None, "a", "inngest/function.finished"])
def test_events_between_ids_and_times(
    store: Store, reader: Reader, story: Story, name: str | None
) -> None:
    rows = [row for row in put_events(store, story) if name in (None, row.name)]
    after_ms = story.now_ms - 25
    before_ms = story.now_ms - 5

    def found(**bounds: Any) -> list[EventId]:
        return event_ids(reader.events(name=name, include_internal=True, limit=1_000, **bounds))

    def wanted(low_ms: int, high_ms: int, before: bytes = b"\xff" * 16) -> list[EventId]:
        return [
            row.event_id
            for row in rows
            if low_ms <= int.from_bytes(row.event_id[:6], "big") < high_ms and row.event_id < before
        ]

    assert found(received_after_ms=after_ms) == wanted(after_ms, 2**48)
    assert found(received_before_ms=before_ms) == wanted(0, before_ms)
    middle = rows[len(rows) // 2].event_id
    assert found(received_after_ms=after_ms, received_before_ms=before_ms, before=middle) == wanted(
        after_ms, before_ms, middle
    )
    assert found(received_after_ms=before_ms, received_before_ms=after_ms) == []
    count = reader.count_events(
        name=name,
        include_internal=True,
        received_after_ms=after_ms,
        received_before_ms=before_ms,
        most=1_000,
    )
    assert count == len(wanted(after_ms, before_ms))


def test_event_with_an_old_id_is_listed_at_its_time(
    store: Store, reader: Reader, story: Story
) -> None:
    """A producer's seed decides the time in the id."""
    new = story.event()
    old = replace(new, event_id=EventId(ulid_bytes(5, b"0123456789")))
    store.commit([new, old])
    assert event_ids(reader.events(limit=9)) == [new.event_id, old.event_id]
    assert event_ids(reader.events(received_before_ms=6, limit=9)) == [old.event_id]


def test_what_is_not_there_is_not_found(store: Store, reader: Reader, story: Story) -> None:
    run_id = RunId(story.ulid())
    assert reader.event(EventId(story.ulid())) is None
    assert reader.run(run_id) is None
    assert reader.steps(run_id) == []
    assert reader.history(run_id) == []
    assert reader.history_row(run_id, 0) is None
    assert reader.request_secrets(run_id, 0) is None
    assert reader.live_state(run_id) is None
    assert reader.quarantined(limit=9) == []
    assert reader.runs(limit=9) == []
    assert reader.runs(statuses=STATUSES, limit=9) == []
    assert reader.events(limit=9, include_internal=True) == []
    assert reader.count_live() == 0
    assert reader.count_runs(most=9) == 0
    assert reader.count_events(include_internal=True, most=9) == 0


def test_live_runs_are_counted_and_have_a_state(store: Store, reader: Reader, story: Story) -> None:
    runs = [story.intake() for _ in range(3)]
    store.commit([write for _run_id, intake in runs for write in intake])
    assert reader.count_live() == 3
    assert reader.live_state(runs[0][0]) == story.live(runs[0][0]).state
    store.commit(story.end(runs[0][0]))
    assert reader.count_live() == 2


def test_steps_are_in_order_of_position(store: Store, reader: Reader, story: Story) -> None:
    run_id, intake = story.intake()
    store.commit(intake)
    for position in (3, 0, 2, 1):
        store.commit([story.step(run_id, position)])
    assert [step.position for step in reader.steps(run_id)] == [0, 1, 2, 3]


@pytest.mark.parametrize("over", [0, 1])
def test_lists_leave_out_a_large_output_and_the_run_itself_has_it(
    store: Store, reader: Reader, story: Story, over: int
) -> None:
    run_id, writes = story.intake()
    store.commit(writes)
    output = b"1" * (LISTED_OUTPUT_BYTES_MAX + over)
    store.commit(
        [
            UpdateRun(
                run_id=run_id,
                status=RunStatus.COMPLETED,
                started_at_ms=story.now_ms,
                ended_at_ms=story.now_ms,
                output=output,
            )
        ]
    )
    listed = None if over else output
    asked: list[dict[str, Any]] = [
        {},
        {"newest_first": False},
        {"statuses": [RunStatus.COMPLETED]},
        {"function_nos": [1]},
    ]
    for filters in asked:
        assert [run.output for run in reader.runs(**filters, limit=10)] == [listed]
    found = reader.run(run_id)
    assert found is not None
    assert found.output == output
