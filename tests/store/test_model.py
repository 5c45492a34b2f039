"""Memory and SQLite hold the same after any course of commits, refusals and restarts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    PutWorker,
    RunStatus,
    SetEventRuns,
    StepKind,
    TrimWorkers,
    UpdateRun,
    WatchKind,
)
from stepwell.store.memory import MemoryStore
from stepwell.store.sqlite import SqliteStore
from stepwell.wire.ids import EventId, RunId, ulid_bytes
from tests.store.contents import contents_of
from tests.store.stories import START_MS

if TYPE_CHECKING:
    from stepwell.store.interface import Reader, Store

pytestmark = [pytest.mark.store, pytest.mark.timeout(60)]

# Few ids, so that rows meet; times near one another, so that bounds fall between them.
RUN_IDS = [RunId(ulid_bytes(START_MS + n // 2, bytes([n]) * 10)) for n in range(5)]
EVENT_IDS = [EventId(ulid_bytes(START_MS + n // 2, bytes([n]) * 10)) for n in range(5)]
NAMES = ["a", "b", "inngest/function.finished", "inngest/function.failed", "inngest/other"]
KEYS = [(1, "x"), (1, "y"), (2, "x")]
WATCH_KEYS = [
    (kind, subject, path, value)
    for kind in WatchKind
    for subject in ("a", "b")
    for path, value in (("", b""), ('["x"]', b"1"), ('["x"]', b"2"))
]
INSTANCES = ["box-1", "box-2"]
APPS = ["one", "two", "three"]
WATCH_IDS = [bytes([n]) * 16 for n in range(3)]

run_ids = st.sampled_from(RUN_IDS)
event_ids = st.sampled_from(EVENT_IDS)
function_nos = st.integers(1, 3)
statuses = st.sampled_from(RunStatus)
times = st.integers(START_MS - 3, START_MS + 5) | st.integers(0, 2**52)
payloads = st.binary(max_size=30) | st.binary(min_size=1_000, max_size=6_000)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
step_ids = st.sampled_from(["ab" * 20, "AB" * 20, "s"]) | texts


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


watches = st.sampled_from(WATCH_KEYS).map(
    lambda key: dict(zip(("kind", "subject", "path", "value"), key, strict=True))
)


def watch_row(row: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda key, **given: row(**key, **given),
        watches,
        watch_id=st.sampled_from(WATCH_IDS),
        **fields,
    )


writes = st.one_of(
    st.builds(SetEventRuns, event_id=event_ids, runs=st.lists(run_ids, max_size=3).map(tuple)),
    watch_row(PutWatch, run_id=run_ids),
    watch_row(DeleteWatch),
    st.builds(PutErrand, errand_id=st.sampled_from(WATCH_IDS), body=payloads),
    st.builds(DeleteErrand, errand_id=st.sampled_from(WATCH_IDS)),
    st.builds(
        PutSchedule, function_no=function_nos, cron=st.sampled_from(["x", "y"]), last_ms=times
    ),
    st.builds(DeleteSchedule, function_no=function_nos, cron=st.sampled_from(["x", "y"])),
    st.builds(
        PutTransport,
        app_name=st.sampled_from(["x", "y"]),
        method=st.sampled_from(["connect", "serve"]),
        url=texts,
        sdk=texts,
        framework=texts,
        app_version=texts,
        checksum=texts,
        synced_at_ms=times,
        functions=payloads,
    ),
    st.builds(
        DeleteTransport,
        app_name=st.sampled_from(["x", "y"]),
        method=st.sampled_from(["connect", "serve"]),
    ),
    st.builds(
        PutRoute,
        app_name=st.sampled_from(["x", "y"]),
        slug=st.sampled_from(["", "x"]),
        connect_percent=maybe(st.integers(0, 100)),
        pin=st.booleans(),
    ),
    st.builds(DeleteRoute, app_name=st.sampled_from(["x", "y"]), slug=st.sampled_from(["", "x"])),
    st.builds(
        PutEvent,
        event_id=event_ids,
        name=st.sampled_from(NAMES),
        ts_ms=times,
        data=payloads,
        external_id=maybe(texts),
        user=maybe(payloads),
        v=maybe(texts),
        meta=maybe(payloads),
        source_run=maybe(run_ids),
        runs=st.lists(run_ids, max_size=3).map(tuple),
    ),
    st.builds(
        PutRun,
        run_id=run_ids,
        function_no=function_nos,
        event_id=event_ids,
        status=statuses,
        started_at_ms=maybe(times),
    ),
    st.builds(
        UpdateRun,
        run_id=run_ids,
        status=statuses,
        started_at_ms=maybe(times),
        ended_at_ms=maybe(times),
        output=maybe(payloads),
    ),
    st.builds(
        PutLive,
        run_id=run_ids,
        function_no=st.sampled_from([-2, -1, 1, 2, 3]),
        queued_score=maybe(st.integers(-2, 3)),
        wake_at_ms=maybe(st.integers(0, 3)),
        state=payloads,
    ),
    st.builds(DeleteLive, run_id=run_ids),
    st.builds(
        PutStep,
        run_id=run_ids,
        step_id=step_ids,
        position=st.integers(0, 10**6),
        kind=st.sampled_from(StepKind),
        name=texts,
        data=payloads,
        attempt=st.integers(0, 3),
        started_at_ms=times,
        ended_at_ms=times,
    ),
    st.builds(
        PutHistory,
        run_id=run_ids,
        seq=st.integers(0, 4),
        at_ms=times,
        kind=st.sampled_from(HistoryKind),
        step_id=maybe(step_ids),
        name=maybe(texts),
        attempt=st.integers(0, 3),
        payload=maybe(payloads),
    ),
    st.builds(PutRequestSecrets, run_id=run_ids, seq=st.integers(0, 4), secrets=payloads),
    st.builds(DeleteRequestSecrets, run_id=run_ids, seq=st.integers(0, 4)),
    st.builds(
        PutDedup,
        function_no=function_nos,
        key=st.sampled_from(["x", "y"]),
        run_id=run_ids,
        expires_at_ms=st.integers(0, 5),
    ),
    st.builds(
        PutApp,
        name=st.sampled_from(["one", "two"]),
        app_id=texts,
        url=texts,
        sdk=texts,
        framework=texts,
        app_version=texts,
        checksum=texts,
        method=st.sampled_from(["connect", "serve"]),
        synced_at_ms=times,
    ),
    st.builds(
        PutFunction,
        no=function_nos,
        function_id=texts,
        app_name=texts,
        slug=texts,
        version=st.integers(1, 9),
        config=payloads,
        created_at_ms=times,
        archived_at_ms=maybe(times),
    ),
    st.builds(
        PutWorker,
        connection_id=run_ids,
        instance_id=st.sampled_from(INSTANCES),
        ended_at_ms=maybe(st.integers(0, 3)),
        app_names=st.lists(st.sampled_from(APPS), unique=True).map(tuple),
        body=payloads,
    ),
    st.builds(
        TrimWorkers,
        ended_before_ms=st.integers(0, 4),
        keep=st.integers(0, 4),
        limit=st.integers(0, 3),
    ),
    st.builds(
        PutQuarantine,
        at_ms=times,
        run_id=maybe(run_ids),
        input_repr=st.text(max_size=10),
        traceback=st.text(max_size=10),
    ),
)

# A list of writes is a commit; the words are what else may happen.
courses = st.lists(
    st.lists(writes, min_size=1, max_size=6) | st.sampled_from(["restart", "idle", "expire"]),
    min_size=1,
    max_size=8,
)
run_lists = st.fixed_dictionaries(
    {"limit": st.integers(0, 6)},
    optional={
        "before": run_ids,
        "after": run_ids,
        "queued_from_ms": st.integers(START_MS - 1, START_MS + 4),
        "queued_until_ms": st.integers(START_MS - 1, START_MS + 4),
        "statuses": st.lists(statuses, max_size=3),
        "function_nos": st.lists(function_nos, max_size=3),
        "newest_first": st.booleans(),
    },
)
event_lists = st.fixed_dictionaries(
    {"limit": st.integers(0, 6)},
    optional={
        "before": event_ids,
        "received_after_ms": st.integers(START_MS - 1, START_MS + 4),
        "received_before_ms": st.integers(START_MS - 1, START_MS + 4),
        "name": st.sampled_from([*NAMES, "unknown"]),
        "include_internal": st.booleans(),
    },
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(course=courses, run_list=run_lists, event_list=event_lists)
def test_stores_agree(
    course: list[Any], run_list: dict[str, Any], event_list: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        memory = MemoryStore()
        sqlite = SqliteStore(Path(directory))
        try:
            for act in course:
                if act == "restart":
                    sqlite.close()
                    sqlite = SqliteStore(Path(directory))
                    continue
                assert outcome(memory, act) == outcome(sqlite, act)
            assert everything(memory) == everything(sqlite)
            assert lists(memory.reader(), run_list, event_list) == lists(
                sqlite.reader(), run_list, event_list
            )
        finally:
            sqlite.close()


def outcome(store: Store, act: Any) -> object:
    """Do an act; what it gave, or that it was refused."""
    if act == "idle":
        store.idle()
        return "tidied up"
    if act == "expire":
        return store.delete_expired_dedups(now_ms=3, limit=2)
    try:
        store.commit(act)
    except AssertionError:
        return "refused"
    return "stored"


def everything(store: Store) -> object:
    scans = [
        store.scan_queued(1, after=(0, RUN_IDS[2]), limit=2),
        store.scan_due(until_ms=2, after=(1, RUN_IDS[2]), limit=2),
        store.load_runs([RUN_IDS[3], RUN_IDS[1]]),
    ]
    return (
        with_steps_sorted(contents_of(store, dedup_keys=KEYS, watch_keys=WATCH_KEYS)),
        [[image.run_id for image in images] for images in scans],
        store.known_dedups(KEYS, now_ms=3),
        store.known_events(EVENT_IDS),
        store.queued_functions(),
        [
            store.find_watches(*key, after=WATCH_IDS[0], before=WATCH_IDS[2], limit=limit)
            for key in WATCH_KEYS
            for limit in (0, 1)
        ],
        store.scan_errands(after=WATCH_IDS[0], limit=1),
        [store.reader().history_row(run_id, seq) for run_id in RUN_IDS for seq in range(5)],
        [store.next_wake_ms(after_ms=ms) for ms in range(-1, 4)],
    )


def with_steps_sorted(contents: dict[str, Any]) -> dict[str, Any]:
    """Steps of equal position have no order; the engine never makes two."""
    for steps in contents["steps"].values():
        steps.sort(key=lambda step: (step["position"], step["step_id"]))
    for part in [contents["images"], contents["due"], *contents["queues"].values()]:
        for image in part:
            image["steps"] = sorted(map(str, image["steps"]))
    return contents


def lists(reader: Reader, run_list: dict[str, Any], event_list: dict[str, Any]) -> object:
    workers = [
        reader.ended_workers(before=before, app_name=app, instance_id=instance, limit=limit)
        for before in (None, RUN_IDS[3])
        for app in (None, *APPS)
        for instance in (None, *INSTANCES)
        for limit in (2, 9)
    ]
    return (
        reader.runs(**run_list),
        reader.events(**event_list),
        reader.count_live(),
        workers,
        [reader.worker(run_id) for run_id in RUN_IDS],
        reader.open_workers(limit=2),
    )
