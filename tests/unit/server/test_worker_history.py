"""The history of workers: what is stored, when, and what is listed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.rows import PutWorker, TrimWorkers
from stepwell.engine.turn import EngineConfig
from stepwell.errors import Retryable
from stepwell.server import worker_history
from stepwell.server.clock import SystemClock
from stepwell.server.ids import SystemIds
from stepwell.server.runtime import Runtime
from stepwell.server.worker_history import SERVER_STOPPED, WorkerHistory
from stepwell.server.workers import WorkerApp, WorkerBook, WorkerInfo, WorkerStatus
from stepwell.store.committer import Committer
from stepwell.store.memory import MemoryStore
from stepwell.store.sqlite import SqliteStore
from stepwell.wire.ids import ulid_bytes, ulid_text
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    import pytest

    from stepwell.engine.rows import Write
    from stepwell.store.interface import Reader, Store

T0_MS = 1_760_000_000_000
EVERYONE = frozenset(WorkerStatus)
LONG_MS = 10 * 366 * 86_400_000


class CountingStore(MemoryStore):
    """Counts commits of workers, and refuses them while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Sequence[Write]] = []
        self.refuses = False
        self.refused = 0

    def commit(self, writes: Sequence[Write]) -> None:
        if any(isinstance(write, PutWorker) for write in writes):
            if self.refuses:
                self.refused += 1
                raise Retryable("the disk is full")
            self.commits.append(writes)
        super().commit(writes)

    def rows(self) -> list[PutWorker]:
        return [row for rows in self.commits for row in rows if isinstance(row, PutWorker)]


class Bench:
    """A runtime over a store, a book, and the history between them."""

    def __init__(self, runtime: Runtime, book: WorkerBook, history: WorkerHistory) -> None:
        self.runtime = runtime
        self.book = book
        self.history = history
        self.reader: Reader = runtime.reader()

    def ids(self, **filters: object) -> list[str]:
        given = {"statuses": EVERYONE, "limit": 99} | filters
        return [info.instance_id for info in self.history.list(self.reader, **given)]  # type: ignore[arg-type]


@asynccontextmanager
async def open_bench(
    store: Store, *, kept_max: int = 1_000, kept_ms: int = LONG_MS
) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    runtime = Runtime(
        store=store,
        committer=Committer(store, loop),
        config=EngineConfig(),
        ids=SystemIds(),
        clock=SystemClock(),
        loop=loop,
    )
    runtime.start()
    book = WorkerBook()
    history = WorkerHistory(runtime=runtime, book=book, kept_max=kept_max, kept_ms=kept_ms)
    try:
        async with history:
            bench = Bench(runtime, book, history)
            yield bench
            bench.reader.close()
    finally:
        await runtime.close()


def id_of(number: int) -> str:
    return ulid_text(ulid_bytes(T0_MS + number, bytes(10)))


def worker(number: int, *apps: str, instance: str | None = None) -> WorkerInfo:
    return WorkerInfo(
        connection_id=id_of(number),
        instance_id=instance or f"box-{number}",
        apps=tuple(
            WorkerApp(name=name, version="v1", function_count=0) for name in apps or ("shop",)
        ),
        status=WorkerStatus.CONNECTED,
        connected_at_ms=T0_MS + number,
        last_heartbeat_ms=T0_MS + number,
        sdk_language="py",
        sdk_version="0.5.19",
        platform="",
        ip="203.0.113.9",
        os="linux",
        cpu_cores=8,
        mem_bytes=16,
        max_worker_concurrency=3,
    )


async def until_stored(store: CountingStore, commits: int) -> None:
    while len(store.commits) < commits:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.001)


# --- what is written ---


@on_loop
async def test_a_worker_that_comes_is_one_row_and_its_heartbeats_and_calls_are_none() -> None:
    store = CountingStore()
    async with open_bench(store) as bench:
        bench.book.connected(worker(1))
        apps = (WorkerApp(name="shop", version="v1", function_count=2, sync_id="s"),)
        bench.book.synced(id_of(1), apps)
        bench.book.status(id_of(1), WorkerStatus.READY)
        await until_stored(store, 1)
        for number in range(100):
            bench.book.heartbeat(id_of(1), T0_MS + 1_000 + number)
            bench.book.answered(id_of(1))
        bench.book.status(id_of(1), WorkerStatus.DRAINING)
        await until_stored(store, 2)
        bench.book.leaving(id_of(1), "WORKER_SHUTDOWN")
        bench.book.disconnected(id_of(1), T0_MS + 5_000)
        await until_stored(store, 3)
    came, drains, ended = [msgspec.json.decode(row.body, type=WorkerInfo) for row in store.rows()]
    assert (came.status, came.apps) == (WorkerStatus.READY, apps)
    assert (drains.status, drains.last_heartbeat_ms) == (WorkerStatus.DRAINING, T0_MS + 1_099)
    assert (ended.calls_done, ended.disconnect_reason) == (100, "WORKER_SHUTDOWN")
    assert [row.ended_at_ms for row in store.rows()] == [None, None, T0_MS + 5_000]


@on_loop
async def test_many_workers_at_once_are_few_commits() -> None:
    store = CountingStore()
    async with open_bench(store) as bench:
        for number in range(worker_history.ROWS_MAX * 2 + 1):
            bench.book.connected(worker(number))
        await until_stored(store, 3)
    sizes = [sum(isinstance(row, PutWorker) for row in rows) for rows in store.commits]
    assert sizes == [worker_history.ROWS_MAX, worker_history.ROWS_MAX, 1]


@on_loop
async def test_what_changed_last_is_stored_when_the_server_stops() -> None:
    store = CountingStore()
    async with open_bench(store) as bench:
        for number in range(worker_history.ROWS_MAX + 1):
            bench.book.connected(worker(number))
            bench.book.disconnected(id_of(number), T0_MS + 5_000)
    assert len(store.rows()) == worker_history.ROWS_MAX + 1
    assert store.reader().open_workers(limit=9) == []


@on_loop
async def test_a_commit_that_failed_is_made_again_with_what_changed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_history, "RETRY_S", 0.01)
    store = CountingStore()
    store.refuses = True
    async with open_bench(store) as bench:
        bench.book.connected(worker(1))
        while store.refused < 2:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        bench.book.disconnected(id_of(1), T0_MS + 7)
        assert bench.ids() == ["box-1"], "it is known from the book"
        store.refuses = False
        while bench.book.list():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        assert bench.ids() == ["box-1"], "and from the store, once the book forgets it"
    assert store.rows()[-1].ended_at_ms == T0_MS + 7


@on_loop
async def test_a_disk_that_refuses_workers_keeps_no_event_out() -> None:
    store = CountingStore()
    store.refuses = True
    async with open_bench(store) as bench:
        bench.book.connected(worker(1))
        while not store.refused:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        assert await bench.runtime.remove_app("shop") is False, "a turn is decided and answered"
        assert bench.ids() == ["box-1"]


# --- how long it is kept ---


@on_loop
async def test_so_many_that_ended_are_kept() -> None:
    store = CountingStore()
    async with open_bench(store, kept_max=3) as bench:
        for number in range(10):
            bench.book.connected(worker(number))
            bench.book.disconnected(id_of(number), T0_MS + 100 + number)
    assert len(store.reader().ended_workers(limit=99)) == 3


@on_loop
async def test_what_ended_too_long_ago_is_forgotten_also_when_nothing_happens() -> None:
    store = CountingStore()
    now_ms = SystemClock().now_ms()
    store.commit(
        [
            PutWorker(
                connection_id=ulid_bytes(number, bytes(10)),
                instance_id="box",
                ended_at_ms=now_ms - age_ms,
                app_names=("shop",),
                body=b"{}",
            )
            for number, age_ms in ((1, 90_000), (2, 30_000))
        ]
    )
    async with open_bench(store, kept_ms=60_000) as bench:
        while len(bench.reader.ended_workers(limit=9)) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    (kept,) = store.reader().ended_workers(limit=9)
    assert kept.connection_id == ulid_bytes(2, bytes(10))


@on_loop
async def test_a_commit_without_an_end_forgets_nothing() -> None:
    store = CountingStore()
    async with open_bench(store) as bench:
        bench.book.connected(worker(1))
        await until_stored(store, 1)
        bench.book.status(id_of(1), WorkerStatus.READY)
        await until_stored(store, 2)
        bench.book.disconnected(id_of(1), T0_MS + 5)
        await until_stored(store, 3)
    trims = [any(isinstance(row, TrimWorkers) for row in rows) for rows in store.commits]
    assert trims[1:] == [False, True]


# --- after a crash ---


@on_loop
async def test_what_was_open_in_a_crash_has_ended_with_its_last_known_time(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    open_ones = [
        msgspec.structs.replace(worker(number), last_heartbeat_ms=T0_MS + 1_000 + number)
        for number in range(worker_history.ROWS_MAX + 5)
    ]
    store.commit([worker_history._row(info) for info in open_ones])
    store.close()
    store = SqliteStore(tmp_path)
    async with open_bench(store) as bench:
        assert bench.reader.open_workers(limit=9) == []
        found = bench.history.list(bench.reader, statuses=EVERYONE, limit=999)
        assert len(found) == len(open_ones)
        first = found[-1]
        assert (first.status, first.disconnect_reason, first.disconnected_at_ms) == (
            WorkerStatus.DISCONNECTED, SERVER_STOPPED, T0_MS + 1_000,
        )  # fmt: skip
        assert bench.history.get(bench.reader, id_of(0)) == first


# --- what is listed ---


@on_loop
async def test_open_and_ended_ones_are_listed_together_newest_first() -> None:
    store = CountingStore()
    async with open_bench(store) as bench:
        for number in (1, 2, 3, 4):
            bench.book.connected(worker(number))
        bench.book.disconnected(id_of(2), T0_MS + 9)
        await until_stored(store, 1)
        bench.book.disconnected(id_of(3), T0_MS + 9)  # not stored yet
        assert bench.ids() == ["box-4", "box-3", "box-2", "box-1"]
        assert bench.ids(limit=2) == ["box-4", "box-3"]
        assert bench.ids(before=id_of(3), limit=1) == ["box-2"]
        assert bench.ids(statuses={WorkerStatus.DISCONNECTED}) == ["box-3", "box-2"]
        assert bench.ids(statuses={WorkerStatus.CONNECTED}) == ["box-4", "box-1"]
        assert bench.ids(statuses={WorkerStatus.READY}) == []


@on_loop
async def test_they_are_found_by_app_and_instance_wherever_they_are() -> None:
    store = CountingStore()
    async with open_bench(store) as bench:
        bench.book.connected(worker(1, "shop", "billing", instance="a"))
        bench.book.connected(worker(2, "billing", instance="b"))
        bench.book.connected(worker(3, "mail", instance="a"))
        bench.book.disconnected(id_of(1), T0_MS + 9)
        await until_stored(store, 1)
        assert bench.ids(app_names=["billing"]) == ["b", "a"]
        assert bench.ids(app_names=["shop", "mail"]) == ["a", "a"]
        assert bench.ids(app_names=["shop", "billing"]) == ["b", "a"], "each one once"
        assert bench.ids(instance_id="a") == ["a", "a"]
        assert bench.ids(instance_id="a", app_names=["shop"]) == ["a"]
        assert bench.ids(instance_id="c") == []


@on_loop
async def test_a_connection_that_comes_again_with_its_id_is_open_and_listed_once() -> None:
    store = CountingStore()
    async with open_bench(store) as bench:
        bench.book.connected(worker(1))
        bench.book.disconnected(id_of(1), T0_MS + 9)
        await until_stored(store, 1)
        bench.book.connected(worker(1))
        (info,) = bench.history.list(bench.reader, statuses=EVERYONE, limit=9)
        assert info.is_live
        assert bench.ids(statuses={WorkerStatus.DISCONNECTED}) == []


@on_loop
async def test_an_id_that_is_none_or_not_known_finds_nothing() -> None:
    async with open_bench(MemoryStore()) as bench:
        assert bench.history.get(bench.reader, "nope") is None
        assert bench.history.get(bench.reader, id_of(1)) is None
