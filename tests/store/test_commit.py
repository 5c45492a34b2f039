"""The contract of `Store.commit`, of every store: what is written, left, and refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

from stepwell.engine.rows import (
    DeleteErrand,
    DeleteLive,
    DeleteRequestSecrets,
    DeleteRoute,
    DeleteSchedule,
    DeleteTransport,
    DeleteWatch,
    HistoryKind,
    PutApp,
    PutDedup,
    PutErrand,
    PutEvent,
    PutFunction,
    PutHistory,
    PutLive,
    PutQuarantine,
    PutRequestSecrets,
    PutRoute,
    PutRun,
    PutSchedule,
    PutStep,
    PutTransport,
    PutWatch,
    RunStatus,
    SetEventRuns,
    StepKind,
    StepRef,
    UpdateRun,
    WatchKind,
)
from stepwell.store.interface import EventRecord, HistoryRecord, RunRecord, StepRecord
from stepwell.wire.ids import EventId, RunId, ulid_bytes
from tests.store.contents import contents_of

if TYPE_CHECKING:
    from stepwell.store.interface import Reader, Store
    from tests.store.stories import Story

pytestmark = pytest.mark.store

replace = msgspec.structs.replace


def test_event_comes_back_whole(store: Store, reader: Reader, story: Story) -> None:
    runs = (RunId(story.ulid()), RunId(story.ulid()))
    event = PutEvent(
        event_id=EventId(story.ulid()),
        name="shop/order.placed",
        ts_ms=12,
        data=b'{"a":1}',
        external_id="order-1",
        user=b'{"id":"u"}',
        v="2026-01-01",
        meta=b'{"m":1}',
        source_run=RunId(story.ulid()),
        runs=runs,
    )
    store.commit([event])
    assert reader.event(event.event_id) == EventRecord(
        event_id=event.event_id,
        name="shop/order.placed",
        ts_ms=12,
        data=b'{"a":1}',
        external_id="order-1",
        user=b'{"id":"u"}',
        v="2026-01-01",
        meta=b'{"m":1}',
        source_run=event.source_run,
        runs=runs,
    )


def test_event_without_optional_parts_comes_back_without_them(
    store: Store, reader: Reader, story: Story
) -> None:
    event = story.event()
    store.commit([event])
    found = reader.event(event.event_id)
    assert found is not None
    assert (found.external_id, found.user, found.v, found.meta) == (None, None, None, None)
    assert (found.source_run, found.runs) == (None, ())


@pytest.mark.parametrize("same_commit", [True, False])
@pytest.mark.parametrize("second_name", ["shop/order.placed", "other", "inngest/other"])
def test_event_that_is_there_is_left_as_it_is_with_its_runs(
    store: Store, reader: Reader, story: Story, second_name: str, same_commit: bool
) -> None:
    first = story.event(RunId(story.ulid()))
    second = replace(first, name=second_name, data=b"null", runs=(RunId(story.ulid()),))
    for writes in [[first, second]] if same_commit else [[first], [second]]:
        store.commit(writes)
    listed = reader.events(include_internal=True, limit=10)
    assert [(event.name, event.data, event.runs) for event in listed] == [
        (first.name, first.data, first.runs)
    ]


def test_new_run_comes_back(store: Store, reader: Reader, story: Story) -> None:
    run = PutRun(
        run_id=RunId(story.ulid()),
        function_no=7,
        event_id=EventId(story.ulid()),
        status=RunStatus.SCHEDULED,
    )
    store.commit([run])
    assert reader.run(run.run_id) == RunRecord(
        run_id=run.run_id,
        function_no=7,
        event_id=run.event_id,
        status=RunStatus.SCHEDULED,
        started_at_ms=None,
        ended_at_ms=None,
        output=None,
    )


def test_update_replaces_a_runs_progress(store: Store, reader: Reader, story: Story) -> None:
    run_id, intake = story.intake(function_no=3)
    at_ms = story.now_ms
    end = UpdateRun(
        run_id=run_id,
        status=RunStatus.FAILED,
        started_at_ms=at_ms + 5,
        ended_at_ms=at_ms + 70_000,
        output=b'{"message":"no"}',
    )
    store.commit(intake)
    store.commit([end])
    run = reader.run(run_id)
    assert run is not None
    assert (run.status, run.function_no) == (RunStatus.FAILED, 3)
    assert (run.started_at_ms, run.ended_at_ms) == (at_ms + 5, at_ms + 70_000)
    assert run.output == b'{"message":"no"}'


def test_update_with_less_clears_the_rest(store: Store, reader: Reader, story: Story) -> None:
    run_id, intake = story.intake()
    store.commit([*intake, *story.end(run_id)])
    store.commit([UpdateRun(run_id=run_id, status=RunStatus.RUNNING, started_at_ms=None)])
    run = reader.run(run_id)
    assert run is not None
    assert (run.started_at_ms, run.ended_at_ms, run.output) == (None, None, None)


def test_empty_output_is_not_no_output(store: Store, reader: Reader, story: Story) -> None:
    run_id, intake = story.intake()
    store.commit([*intake, *story.end(run_id, output=b"")])
    run = reader.run(run_id)
    assert run is not None
    assert run.output == b""


@pytest.mark.parametrize("started_at_ms", [0, 2**52])
def test_times_far_from_the_id_come_back(
    store: Store, reader: Reader, story: Story, started_at_ms: int
) -> None:
    run_id, intake = story.intake()
    update = UpdateRun(run_id=run_id, status=RunStatus.RUNNING, started_at_ms=started_at_ms)
    store.commit([*intake, update])
    run = reader.run(run_id)
    assert run is not None
    assert run.started_at_ms == started_at_ms


def test_live_row_is_replaced(store: Store, story: Story) -> None:
    run_id, intake = story.intake()
    store.commit(intake)
    row = PutLive(run_id=run_id, function_no=1, queued_score=9, wake_at_ms=8, state=b"new")
    store.commit([row])
    (image,) = store.load_runs([run_id])
    assert (image.queued_score, image.wake_at_ms, image.state) == (9, 8, b"new")
    assert [run.run_id for run in store.scan_queued(1, after=None, limit=9)] == [run_id]
    assert [run.run_id for run in store.scan_due(until_ms=8, after=None, limit=9)] == [run_id]
    assert store.scan_due(until_ms=7, after=None, limit=9) == []


def test_live_row_with_a_new_state_alone_keeps_its_place(store: Store, story: Story) -> None:
    run_id, intake = story.intake()
    store.commit(intake)
    (before,) = store.load_runs([run_id])
    store.commit([replace(story.live(run_id), state=b"t" * 5_000)])
    (after,) = store.load_runs([run_id])
    assert after == replace(before, state=b"t" * 5_000)
    assert store.scan_due(until_ms=0, after=None, limit=9) == [after]


def test_last_of_several_live_rows_in_a_commit_stays(store: Store, story: Story) -> None:
    run_id, intake = story.intake()
    lives = [
        PutLive(run_id=run_id, function_no=1, queued_score=score, wake_at_ms=None, state=b"%d" % n)
        for n, score in enumerate([5, 5, None, 7])
    ]
    store.commit([*intake, *lives])
    (image,) = store.load_runs([run_id])
    assert (image.queued_score, image.wake_at_ms, image.state) == (7, None, b"3")


def test_deleted_live_row_leaves_the_run(store: Store, reader: Reader, story: Story) -> None:
    run_id, intake = story.intake()
    store.commit(intake)
    store.commit([DeleteLive(run_id=run_id)])
    assert store.load_runs([run_id]) == []
    assert store.scan_due(until_ms=2**60, after=None, limit=9) == []
    assert reader.live_state(run_id) is None
    assert reader.run(run_id) is not None


def test_deleting_a_live_row_that_is_not_there_changes_nothing(store: Store, story: Story) -> None:
    _run_id, intake = story.intake()
    store.commit(intake)
    before = contents_of(store)
    store.commit([DeleteLive(run_id=RunId(story.ulid()))])
    assert contents_of(store) == before


def test_step_comes_back_whole(store: Store, reader: Reader, story: Story) -> None:
    run_id, intake = story.intake()
    step = PutStep(
        run_id=run_id,
        step_id="0123456789abcdef0123456789abcdef01234567",
        position=0,
        kind=StepKind.FAILED,
        name="charge the card",
        data=b'{"message":"declined"}',
        attempt=3,
        started_at_ms=story.now_ms + 1_000,
        ended_at_ms=story.now_ms + 500,  # clocks may do that
    )
    store.commit([*intake, step])
    assert reader.steps(run_id) == [
        StepRecord(
            step_id="0123456789abcdef0123456789abcdef01234567",
            position=0,
            kind=StepKind.FAILED,
            name="charge the card",
            data=b'{"message":"declined"}',
            attempt=3,
            started_at_ms=story.now_ms + 1_000,
            ended_at_ms=story.now_ms + 500,
        )
    ]


@pytest.mark.parametrize("same_commit", [True, False])
def test_first_write_of_a_step_wins(
    store: Store, reader: Reader, story: Story, same_commit: bool
) -> None:
    run_id, intake = story.intake()
    first = story.step(run_id, 0)
    second = replace(first, position=1, data=b'"late"', attempt=1, kind=StepKind.FAILED)
    store.commit(intake)
    for writes in [[first, second]] if same_commit else [[first], [second]]:
        store.commit(writes)
    assert [(step.position, step.data) for step in reader.steps(run_id)] == [(0, first.data)]


def test_the_same_step_id_in_two_runs_is_two_steps(
    store: Store, reader: Reader, story: Story
) -> None:
    one, begin_one = story.intake()
    two, begin_two = story.intake()
    store.commit([*begin_one, *begin_two, story.step(one, 0), story.step(two, 0, data=b"2")])
    assert [step.data for step in reader.steps(one)] == [b"o" * 20]
    assert [step.data for step in reader.steps(two)] == [b"2"]


@pytest.mark.parametrize(
    "step_id",
    [
        "0" * 40,
        "ABCDEF0123456789ABCDEF0123456789ABCDEF01",  # upper case is another id than lower case
        "step",
        "0123456789abcdef0123",
        "g" * 40,
        "",
        "étape-1 \0 π",
        "0" * 39 + "\n",
        "٣" * 40,  # digits, but not those
    ],
)
def test_step_id_comes_back_as_it_was(
    store: Store, reader: Reader, story: Story, step_id: str
) -> None:
    run_id, intake = story.intake()
    step = replace(story.step(run_id, 0), step_id=step_id)
    row = PutHistory(
        run_id=run_id,
        seq=0,
        at_ms=1,
        kind=HistoryKind.STEP_PLANNED,
        step_id=step_id,
        name=None,
        attempt=0,
    )
    store.commit([*intake, step, row])
    assert [step.step_id for step in reader.steps(run_id)] == [step_id]
    assert [row.step_id for row in reader.history(run_id)] == [step_id]
    assert store.load_runs([run_id])[0].steps == (StepRef(step_id, 20),)


@pytest.mark.parametrize("size", [0, 1, 900, 1_100, 4_096, 300_000])
def test_payloads_of_any_size_come_back(
    store: Store, reader: Reader, story: Story, size: int
) -> None:
    payload = bytes(index % 251 for index in range(size))
    run_id, intake = story.intake(data=payload)
    writes = [*intake, story.step(run_id, 0, data=payload), *story.end(run_id, output=payload)]
    store.commit(writes)
    (event,) = reader.events(limit=1)
    run = reader.run(run_id)
    assert event.data == payload
    assert reader.steps(run_id)[0].data == payload
    assert run is not None
    assert run.output == payload


def test_history_comes_back_whole(store: Store, reader: Reader, story: Story) -> None:
    run_id, intake = story.intake()
    rows = [
        PutHistory(
            run_id=run_id,
            seq=0,
            at_ms=story.now_ms + 20,
            kind=HistoryKind.ATTEMPT_FAILED,
            step_id="ab" * 20,
            name="charge",
            attempt=0,
            payload=b'{"message":"x"}',
        ),
        PutHistory(
            run_id=run_id,
            seq=1,
            at_ms=story.now_ms + 10,
            kind=HistoryKind.CALL_LOST,
            step_id=None,
            name=None,
            attempt=1,
        ),
    ]
    store.commit([*intake, *rows])
    assert reader.history(run_id) == [
        HistoryRecord(
            seq=row.seq,
            at_ms=row.at_ms,
            kind=row.kind,
            step_id=row.step_id,
            name=row.name,
            attempt=row.attempt,
            payload=row.payload,
        )
        for row in rows
    ]
    assert [reader.history_row(run_id, seq) for seq in (0, 1)] == reader.history(run_id)
    assert reader.history_row(run_id, 2) is None


def test_secrets_of_a_request_are_there_until_it_is_over(
    store: Store, reader: Reader, story: Story
) -> None:
    run_id, intake = story.intake()
    store.commit([*intake, PutRequestSecrets(run_id=run_id, seq=3, secrets=b'"old"')])
    store.commit([PutRequestSecrets(run_id=run_id, seq=3, secrets=b'"new"')])
    assert reader.request_secrets(run_id, 3) == b'"new"'
    assert reader.request_secrets(run_id, 2) is None
    store.commit([DeleteRequestSecrets(run_id=run_id, seq=2)])
    assert reader.request_secrets(run_id, 3) == b'"new"'
    store.commit([DeleteRequestSecrets(run_id=run_id, seq=3)])
    assert reader.request_secrets(run_id, 3) is None


def test_a_queue_of_requests_is_not_the_queue_of_calls(store: Store, story: Story) -> None:
    (calls, intake), (requests, more) = story.intake(), story.intake()
    queued = story.live(requests, queued_score=5, wake_at_ms=None)
    no = queued.function_no
    store.commit([*intake, *more, story.live(calls, queued_score=5, wake_at_ms=None)])
    store.commit([replace(queued, function_no=-no)])
    assert store.queued_functions() == [-no, no]
    assert [image.run_id for image in store.scan_queued(-no, after=None, limit=9)] == [requests]
    assert [image.run_id for image in store.scan_queued(no, after=None, limit=9)] == [calls]
    assert {image.function_no for image in store.load_runs([calls, requests])} == {no}
    store.commit([queued])
    assert store.queued_functions() == [no]


def test_dedup_pair_is_replaced(store: Store, story: Story) -> None:
    old, new = RunId(story.ulid()), RunId(story.ulid())
    store.commit([PutDedup(function_no=1, key="k", run_id=old, expires_at_ms=10)])
    store.commit([PutDedup(function_no=1, key="k", run_id=new, expires_at_ms=20)])
    assert store.known_dedups([(1, "k")], now_ms=15) == {(1, "k"): new}


def test_app_and_function_are_replaced(store: Store) -> None:
    app = PutApp(
        name="shop",
        app_id="id",
        url="http://localhost",
        sdk="stepwell-py:v0",
        framework="fast_api",
        app_version="1",
        checksum="c",
        method="serve",
        synced_at_ms=1,
    )
    function = PutFunction(
        no=4,
        function_id="f",
        app_name="shop",
        slug="shop-order",
        version=1,
        config=b"{}",
        created_at_ms=1,
    )
    other = replace(app, name="a-first")
    store.commit([app, function, other])
    newer = replace(app, app_version="2", method="connect", synced_at_ms=2)
    archived = replace(function, version=2, config=b'{"a":1}', archived_at_ms=3)
    store.commit([newer, archived, replace(function, no=2)])
    assert store.load_catalog() == ([other, newer], [replace(function, no=2), archived])


def test_an_event_is_told_later_what_it_started(store: Store, reader: Reader, story: Story) -> None:
    event = story.event()
    story.tick()
    other = story.event()
    story.tick()
    internal = story.event(name="inngest/function.failed")
    runs = (RunId(story.ulid()), RunId(story.ulid()))
    store.commit([event, other, internal])
    store.commit(
        [
            SetEventRuns(event_id=internal.event_id, runs=runs[:1]),
            SetEventRuns(event_id=event.event_id, runs=runs),
            SetEventRuns(event_id=EventId(story.ulid()), runs=runs),
        ]
    )
    listed = reader.events(include_internal=True, limit=9)
    assert [event.runs for event in listed] == [runs[:1], (), runs]


def test_watches_are_found_by_exactly_what_they_watch_for(store: Store, story: Story) -> None:
    run_id = RunId(story.ulid())
    watches = [
        story.watch(run_id),
        story.watch(run_id, value=b"2"),
        story.watch(run_id, path="", value=b""),
        story.watch(run_id, subject="order/void"),
        story.watch(run_id, kind=WatchKind.SIGNAL),
    ]
    store.commit(watches)
    for watch in watches:
        assert found(store, watch) == [(watch.watch_id, run_id)]
    assert found(store, story.watch(run_id, subject="order")) == []
    assert found(store, story.watch(run_id, path="", value=b"1")) == []
    # Signals are looked up by their name; for events memory must know where to look.
    assert store.load_watched() == [
        ("order/paid", "", 1, watches[2].watch_id),
        ("order/paid", '["id"]', 2, watches[1].watch_id),
        ("order/void", '["id"]', 1, watches[3].watch_id),
    ]


def test_watches_are_found_in_order_and_in_pages(store: Store, story: Story) -> None:
    watches = [story.watch(RunId(story.ulid())) for _ in range(4)]
    store.commit(watches[::-1])
    ids = [watch.watch_id for watch in watches]
    assert [watch_id for watch_id, _run in found(store, watches[0])] == ids
    assert [run_id for _id, run_id in found(store, watches[0])] == [
        watch.run_id for watch in watches
    ]
    between = found(store, watches[0], after=ids[0], before=ids[3])
    assert [watch_id for watch_id, _run in between] == ids[1:3]
    assert [watch_id for watch_id, _run in found(store, watches[0], limit=2)] == ids[:2]
    assert found(store, watches[0], limit=0) == []


def test_a_watch_ends_alone(store: Store, story: Story) -> None:
    kept, gone = story.watch(RunId(story.ulid())), story.watch(RunId(story.ulid()))
    store.commit([kept, gone])
    delete = DeleteWatch(
        kind=gone.kind,
        subject=gone.subject,
        path=gone.path,
        value=gone.value,
        watch_id=gone.watch_id,
    )
    store.commit([delete])
    assert found(store, kept) == [(kept.watch_id, kept.run_id)]
    store.commit([delete, gone])
    assert len(found(store, kept)) == 2
    store.commit([delete])
    store.commit([replace(delete, watch_id=kept.watch_id)])
    assert store.load_watched() == []


def test_errands_are_replaced_done_and_read_in_order(store: Store) -> None:
    first, second, third = (bytes([n]) * 16 for n in (1, 2, 3))
    store.commit([PutErrand(errand_id=each, body=b"a") for each in (third, first, second)])
    store.commit([PutErrand(errand_id=second, body=b"b"), DeleteErrand(errand_id=b"none")])
    assert store.scan_errands(after=b"", limit=9) == [
        PutErrand(errand_id=first, body=b"a"),
        PutErrand(errand_id=second, body=b"b"),
        PutErrand(errand_id=third, body=b"a"),
    ]
    assert [row.errand_id for row in store.scan_errands(after=first, limit=1)] == [second]
    store.commit([DeleteErrand(errand_id=first), DeleteErrand(errand_id=second)])
    assert [row.errand_id for row in store.scan_errands(after=b"", limit=9)] == [third]


def test_schedules_are_replaced_and_read_in_order(store: Store) -> None:
    def schedule(no: int, cron: str, last_ms: int) -> PutSchedule:
        return PutSchedule(function_no=no, cron=cron, last_ms=last_ms)

    store.commit([schedule(2, "b", 1), schedule(1, "b", 2), schedule(1, "a", 3)])
    store.commit([schedule(1, "b", 9), DeleteSchedule(function_no=2, cron="a")])
    assert store.load_schedules() == [
        schedule(1, "a", 3),
        schedule(1, "b", 9),
        schedule(2, "b", 1),
    ]
    store.commit([DeleteSchedule(function_no=1, cron="b")])
    assert store.load_schedules() == [schedule(1, "a", 3), schedule(2, "b", 1)]


def found(
    store: Store,
    watch: PutWatch,
    *,
    after: bytes = b"",
    before: bytes = b"\xff" * 16,
    limit: int = 9,
) -> list[tuple[bytes, RunId]]:
    """What there is where this watch would be."""
    return store.find_watches(
        watch.kind, watch.subject, watch.path, watch.value, after=after, before=before, limit=limit
    )


def test_quarantined_input_comes_back_the_last_one_first(
    store: Store, reader: Reader, story: Story
) -> None:
    first = PutQuarantine(at_ms=1, run_id=None, input_repr="Input(1)", traceback="Traceback")
    second = PutQuarantine(
        at_ms=1, run_id=RunId(story.ulid()), input_repr="\udc80 \0 π", traceback="\ud800"
    )
    store.commit([first])
    store.commit([second])
    assert reader.quarantined(limit=10) == [second, first]
    assert reader.quarantined(limit=1) == [second]


def test_commit_of_nothing_is_allowed(store: Store) -> None:
    before = contents_of(store)
    store.commit([])
    assert contents_of(store) == before


# --- all or nothing ---


@pytest.mark.parametrize(
    "bad",
    [
        "run twice",
        "run known",
        "update",
        "history twice",
        "watch twice",
        "watch known",
        "no write",
    ],
)
def test_commit_with_a_broken_invariant_in_the_middle_stores_nothing(
    store: Store, story: Story, bad: str
) -> None:
    run_id, intake = story.intake()
    watch = story.watch(run_id)
    store.commit([*intake, watch])
    before = contents_of(store)
    other, other_intake = story.intake()
    history = PutHistory(
        run_id=other,
        seq=0,
        at_ms=1,
        kind=HistoryKind.CALL_LOST,
        step_id=None,
        name=None,
        attempt=0,
    )
    late = UpdateRun(run_id=RunId(story.ulid()), status=RunStatus.RUNNING, started_at_ms=None)
    broken: dict[str, list[Any]] = {
        "run twice": [other_intake[1]],
        "run known": [intake[1]],
        "update": [late],
        "history twice": [history, history],
        "watch twice": [story.watch(run_id, value=b"2")] * 2,
        "watch known": [watch],
        "no write": [object()],
    }
    fresh = story.event(name="a name that was never seen")
    with pytest.raises(AssertionError):
        store.commit([*other_intake, fresh, *broken[bad], *story.report(run_id, 0)])
    assert contents_of(store) == before

    store.commit([*other_intake, fresh, *story.report(run_id, 0)])
    (image,) = store.load_runs([run_id])
    assert len(image.steps) == 1
    listed = store.reader().events(name="a name that was never seen", limit=9)
    assert [event.event_id for event in listed] == [fresh.event_id]


def test_reader_sees_what_was_committed_before_each_call(store: Store, story: Story) -> None:
    reader = store.reader()
    run_id, intake = story.intake()
    assert reader.run(run_id) is None
    store.commit(intake)
    assert reader.run(run_id) is not None
    assert reader.steps(run_id) == []
    store.commit(story.report(run_id, 0))
    assert len(reader.steps(run_id)) == 1
    store.idle()
    store.commit(story.report(run_id, 1))
    assert len(reader.steps(run_id)) == 2
    reader.close()
    reader.close()


def test_ids_at_the_ends_of_their_range_are_ids(store: Store, reader: Reader, story: Story) -> None:
    ends = [ulid_bytes(0, b"\0" * 10), ulid_bytes(2**48 - 1, b"\xff" * 10)]
    for end in ends:
        event_id, run_id = EventId(end), RunId(end)
        event = PutEvent(event_id=event_id, name="e", ts_ms=0, data=b"{}")
        run = PutRun(run_id=run_id, function_no=1, event_id=event_id, status=RunStatus.RUNNING)
        store.commit([event, run, story.live(run_id)])
    assert [run.run_id for run in reader.runs(limit=9)] == ends[::-1]
    assert [run.run_id for run in reader.runs(function_nos=[1], limit=9)] == ends[::-1]
    assert [bytes(event.event_id) for event in reader.events(limit=9)] == ends[::-1]
    assert [run.run_id for run in store.scan_due(until_ms=0, after=None, limit=9)] == ends


def test_store_is_used_by_one_thread_after_another(
    store: Store, reader: Reader, story: Story
) -> None:
    """As the committer does it, on the loop's thread and in its own."""
    run_id, intake = story.intake()
    store.commit(intake)
    for position in range(3):
        with ThreadPoolExecutor(1) as thread:
            thread.submit(store.commit, story.report(run_id, position)).result()
            thread.submit(store.idle).result()
        (image,) = store.load_runs([run_id])
        assert len(image.steps) == len(reader.steps(run_id)) == position + 1


def test_transports_are_replaced_and_read_in_order(store: Store) -> None:
    def transport(
        app_name: str, method: Literal["connect", "serve"], version: str = "v1"
    ) -> PutTransport:
        return PutTransport(
            app_name=app_name,
            method=method,
            url="http://localhost:3000/api/inngest",
            sdk="py:v1",
            framework="fastapi",
            app_version=version,
            checksum=f"{method} {version}",
            synced_at_ms=7,
            functions=b'{"shop-ship":"http://localhost:3000/api/inngest?fnId=shop-ship"}',
        )

    store.commit(
        [transport("shop", "serve"), transport("shop", "connect"), transport("a", "serve")]
    )
    store.commit([transport("shop", "serve", "v2"), DeleteTransport(app_name="x", method="serve")])
    assert store.load_transports() == [
        transport("a", "serve"),
        transport("shop", "connect"),
        transport("shop", "serve", "v2"),
    ]
    store.commit([DeleteTransport(app_name="shop", method="serve")])
    assert store.load_transports() == [transport("a", "serve"), transport("shop", "connect")]


def test_routes_are_replaced_and_read_in_order(store: Store) -> None:
    def route(slug: str, percent: int | None, *, pin: bool = False) -> PutRoute:
        return PutRoute(app_name="shop", slug=slug, connect_percent=percent, pin=pin)

    store.commit([route("shop-ship", 0), route("", None, pin=True), route("shop-bill", 100)])
    store.commit([route("shop-ship", 50), DeleteRoute(app_name="shop", slug="x")])
    assert store.load_routes() == [
        route("", None, pin=True),
        route("shop-bill", 100),
        route("shop-ship", 50),
    ]
    store.commit([DeleteRoute(app_name="shop", slug="")])
    assert store.load_routes() == [route("shop-bill", 100), route("shop-ship", 50)]
