"""The contract of what a partition loads from, of every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from stepwell.engine.rows import (
    DeleteLive,
    HistoryKind,
    PutDedup,
    PutHistory,
    PutLive,
    PutRun,
    RunImage,
    RunStatus,
    StepRef,
)
from stepwell.wire.ids import EventId, RunId, hash_step_id

if TYPE_CHECKING:
    from stepwell.store.interface import Store
    from tests.store.stories import Story

pytestmark = pytest.mark.store

replace = msgspec.structs.replace


def put_run(
    store: Store,
    story: Story,
    *,
    function_no: int = 1,
    queued_score: int | None = None,
    wake_at_ms: int | None = None,
) -> RunId:
    """Store a live run at the given place; ids grow with each call."""
    story.tick()
    run_id, intake = story.intake(function_no=function_no)
    live = PutLive(
        run_id=run_id,
        function_no=function_no,
        queued_score=queued_score,
        wake_at_ms=wake_at_ms,
        state=b"s",
    )
    store.commit([*intake[:-1], live])
    return run_id


def ids(images: list[RunImage]) -> list[RunId]:
    return [image.run_id for image in images]


def test_image_of_a_run_with_steps_and_history(store: Store, story: Story) -> None:
    run_id, intake = story.intake(function_no=5)
    history = [
        PutHistory(
            run_id=run_id,
            seq=seq,
            at_ms=story.now_ms,
            kind=HistoryKind.CALL_LOST,
            step_id=None,
            name=None,
            attempt=0,
        )
        for seq in range(3)
    ]
    steps = [story.step(run_id, position, data=b"x" * position) for position in (2, 0, 1)]
    store.commit([*intake, *steps, *history])
    event, run, live = intake
    assert store.load_runs([run_id]) == [
        RunImage(
            run_id=run_id,
            function_no=5,
            event_id=event.event_id,  # type: ignore[union-attr]
            status=RunStatus.RUNNING,
            started_at_ms=run.started_at_ms,  # type: ignore[union-attr]
            queued_score=None,
            wake_at_ms=0,
            state=live.state,  # type: ignore[union-attr]
            steps=tuple(StepRef(hash_step_id(f"step-{n}"), n) for n in range(3)),
            history_count=3,
        )
    ]


def test_runs_are_loaded_in_the_order_asked_without_those_that_are_over(
    store: Store, story: Story
) -> None:
    one, two, over = (put_run(store, story, wake_at_ms=1) for _ in range(3))
    store.commit([DeleteLive(run_id=over)])
    unknown = RunId(story.ulid())
    assert ids(store.load_runs([two, over, unknown, one])) == [two, one]
    assert store.load_runs([]) == []


def test_live_row_without_its_run_is_no_live_run(store: Store, story: Story) -> None:
    run_id = RunId(story.ulid())
    store.commit([PutLive(run_id=run_id, function_no=1, queued_score=1, wake_at_ms=1, state=b"s")])
    assert store.load_runs([run_id]) == []
    assert store.scan_queued(1, after=None, limit=9) == []
    assert store.scan_due(until_ms=9, after=None, limit=9) == []


def test_queue_is_by_score_then_id(store: Store, story: Story) -> None:
    late, early, tie = (put_run(store, story, queued_score=score) for score in (30, -5, 30))
    put_run(store, story, function_no=2, queued_score=1)
    put_run(store, story, wake_at_ms=1)
    assert ids(store.scan_queued(1, after=None, limit=9)) == [early, late, tie]


def test_queue_goes_on_behind_a_place(store: Store, story: Story) -> None:
    runs = [put_run(store, story, queued_score=score) for score in (10, 20, 20, 30)]
    assert ids(store.scan_queued(1, after=None, limit=2)) == runs[:2]
    assert ids(store.scan_queued(1, after=(20, runs[1]), limit=2)) == runs[2:]
    store.commit([DeleteLive(run_id=runs[1])])
    assert ids(store.scan_queued(1, after=(20, runs[1]), limit=9)) == runs[2:]
    assert ids(store.scan_queued(1, after=(20, RunId(b"\xff" * 16)), limit=9)) == runs[3:]
    assert store.scan_queued(1, after=(30, runs[3]), limit=9) == []
    assert store.scan_queued(1, after=None, limit=0) == []


def test_queue_follows_changes(store: Store, story: Story) -> None:
    run_id = put_run(store, story, queued_score=10)
    other = put_run(store, story, queued_score=20)
    moved = PutLive(run_id=run_id, function_no=1, queued_score=99, wake_at_ms=None, state=b"s")
    store.commit([moved])
    assert ids(store.scan_queued(1, after=None, limit=9)) == [other, run_id]
    store.commit([replace(moved, queued_score=None, wake_at_ms=0)])
    assert ids(store.scan_queued(1, after=None, limit=9)) == [other]


def test_due_runs_are_by_time_then_id(store: Store, story: Story) -> None:
    later, soon, tie, out = (put_run(store, story, wake_at_ms=at) for at in (50, 7, 50, 0))
    put_run(store, story, wake_at_ms=51)
    put_run(store, story, queued_score=1)
    assert ids(store.scan_due(until_ms=50, after=None, limit=9)) == [out, soon, later, tie]
    assert ids(store.scan_due(until_ms=0, after=None, limit=9)) == [out]
    assert store.scan_due(until_ms=-1, after=None, limit=9) == []


def test_due_runs_go_on_behind_a_place(store: Store, story: Story) -> None:
    runs = [put_run(store, story, wake_at_ms=at) for at in (10, 20, 20, 30)]
    assert ids(store.scan_due(until_ms=30, after=None, limit=2)) == runs[:2]
    assert ids(store.scan_due(until_ms=30, after=(20, runs[1]), limit=1)) == [runs[2]]
    assert ids(store.scan_due(until_ms=30, after=(15, RunId(b"\0" * 16)), limit=9)) == runs[1:]
    assert ids(store.scan_due(until_ms=25, after=(20, runs[1]), limit=9)) == [runs[2]]
    assert store.scan_due(until_ms=15, after=(20, runs[1]), limit=9) == []


def test_functions_with_a_queue(store: Store, story: Story) -> None:
    assert store.queued_functions() == []
    put_run(store, story, function_no=9, queued_score=1)
    put_run(store, story, function_no=4, wake_at_ms=1)
    put_run(store, story, function_no=2, queued_score=1)
    gone = put_run(store, story, function_no=3, queued_score=1)
    put_run(store, story, function_no=9, queued_score=2)
    store.commit([DeleteLive(run_id=gone)])
    assert store.queued_functions() == [2, 9]


def test_next_wake_is_behind_the_given_time(store: Store, story: Story) -> None:
    assert store.next_wake_ms(after_ms=-1) is None
    put_run(store, story, wake_at_ms=0)
    put_run(store, story, wake_at_ms=80)
    put_run(store, story, wake_at_ms=60)
    put_run(store, story, queued_score=1)
    assert store.next_wake_ms(after_ms=-1) == 0
    assert store.next_wake_ms(after_ms=0) == 60
    assert store.next_wake_ms(after_ms=60) == 80
    assert store.next_wake_ms(after_ms=80) is None


def test_stranded_runs_are_counted(store: Store, story: Story) -> None:
    put_run(store, story, wake_at_ms=0)
    put_run(store, story, queued_score=0)
    assert store.count_stranded() == 0
    stranded = put_run(store, story)
    assert store.count_stranded() == 1
    assert ids(store.load_runs([stranded])) == [stranded]
    store.commit([story.live(stranded)])
    assert store.count_stranded() == 0


def test_known_events(store: Store, story: Story) -> None:
    event = story.event()
    internal = story.event(name="inngest/function.finished")
    store.commit([event, internal])
    unknown = EventId(story.ulid())
    known = store.known_events([unknown, event.event_id, internal.event_id])
    assert known == {event.event_id, internal.event_id}
    assert store.known_events([]) == set()


def test_dedup_pairs_are_known_until_they_expire(store: Store, story: Story) -> None:
    run_id = RunId(story.ulid())
    pair = PutDedup(function_no=1, key="a", run_id=run_id, expires_at_ms=100)
    store.commit([pair, replace(pair, function_no=2, expires_at_ms=50)])
    asked = [(1, "a"), (2, "a"), (1, "b"), (1, "A")]
    assert store.known_dedups(asked, now_ms=49) == {(1, "a"): run_id, (2, "a"): run_id}
    assert store.known_dedups(asked, now_ms=50) == {(1, "a"): run_id}
    assert store.known_dedups(asked, now_ms=99) == {(1, "a"): run_id}
    assert store.known_dedups(asked, now_ms=100) == {}
    assert store.known_dedups([], now_ms=0) == {}


def test_expired_dedup_pairs_are_deleted_oldest_first(store: Store, story: Story) -> None:
    run_id = RunId(story.ulid())
    expiries = {"d": 40, "b": 20, "a": 10, "c": 30}
    store.commit(
        [
            PutDedup(function_no=1, key=key, run_id=run_id, expires_at_ms=expires_at_ms)
            for key, expires_at_ms in expiries.items()
        ]
    )
    keys = [(1, key) for key in "abcd"]
    assert store.delete_expired_dedups(now_ms=9, limit=9) == 0
    assert store.delete_expired_dedups(now_ms=30, limit=2) == 2
    assert sorted(store.known_dedups(keys, now_ms=0)) == [(1, "c"), (1, "d")]
    assert store.delete_expired_dedups(now_ms=30, limit=2) == 1
    assert store.delete_expired_dedups(now_ms=30, limit=2) == 0
    assert sorted(store.known_dedups(keys, now_ms=0)) == [(1, "d")]


def test_run_row_alone_is_not_live(store: Store, story: Story) -> None:
    run = PutRun(
        run_id=RunId(story.ulid()),
        function_no=1,
        event_id=EventId(story.ulid()),
        status=RunStatus.RUNNING,
    )
    store.commit([run])
    assert store.load_runs([run.run_id]) == []


def test_catalog_of_an_empty_store_is_empty(store: Store) -> None:
    assert store.load_catalog() == ([], [])
