"""The contract of worker rows, of every store: what is kept, found, and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.engine.rows import PutWorker, TrimWorkers
from stepwell.store.interface import WorkerRecord
from stepwell.store.sqlite import SqliteStore
from stepwell.wire.ids import ulid_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from stepwell.store.interface import Reader, Store

pytestmark = pytest.mark.store


def id_of(number: int) -> bytes:
    return ulid_bytes(1_760_000_000_000 + number, bytes([number]) * 10)


def worker(
    number: int,
    *apps: str,
    ended_at_ms: int | None = None,
    instance: str = "box",
    body: bytes = b"{}",
) -> PutWorker:
    return PutWorker(
        connection_id=id_of(number),
        instance_id=instance,
        ended_at_ms=ended_at_ms,
        app_names=apps or ("shop",),
        body=body,
    )


def numbers(records: list[WorkerRecord]) -> list[int]:
    return [record.connection_id[-1] for record in records]


def test_a_connection_comes_back_whole_and_the_last_row_counts(
    store: Store, reader: Reader
) -> None:
    store.commit([worker(1, "shop", "billing", body=b"1")])
    assert reader.worker(id_of(1)) == WorkerRecord(connection_id=id_of(1), body=b"1")
    assert numbers(reader.open_workers(limit=9)) == [1]
    store.commit([worker(1, "shop", "billing", body=b"2", ended_at_ms=5)])
    assert reader.worker(id_of(1)) == WorkerRecord(connection_id=id_of(1), body=b"2")
    assert reader.open_workers(limit=9) == []
    assert numbers(reader.ended_workers(limit=9)) == [1]
    assert reader.worker(id_of(2)) is None


def test_open_ones_are_listed_in_the_order_in_which_they_came(store: Store, reader: Reader) -> None:
    store.commit([worker(3), worker(1), worker(2, ended_at_ms=1), worker(4)])
    assert numbers(reader.open_workers(limit=9)) == [1, 3, 4]
    assert numbers(reader.open_workers(limit=2)) == [1, 3]


def test_ended_ones_are_listed_newest_first_and_go_on_behind_a_cursor(
    store: Store, reader: Reader
) -> None:
    store.commit([worker(n, ended_at_ms=9 - n) for n in (1, 2, 3, 4)] + [worker(5)])
    assert numbers(reader.ended_workers(limit=9)) == [4, 3, 2, 1]
    assert numbers(reader.ended_workers(limit=2)) == [4, 3]
    assert numbers(reader.ended_workers(before=id_of(3), limit=9)) == [2, 1]
    assert reader.ended_workers(limit=0) == []


def test_ended_ones_are_found_by_app_and_by_instance(store: Store, reader: Reader) -> None:
    store.commit(
        [
            worker(1, "shop", ended_at_ms=1, instance="a"),
            worker(2, "shop", "billing", ended_at_ms=1, instance="b"),
            worker(3, "billing", ended_at_ms=1, instance="a"),
            worker(4, "shop", instance="a"),
        ]
    )
    found = reader.ended_workers
    assert numbers(found(app_name="shop", limit=9)) == [2, 1]
    assert numbers(found(app_name="billing", limit=9)) == [3, 2]
    assert numbers(found(app_name="billing", limit=1)) == [3]
    assert numbers(found(app_name="shop", before=id_of(2), limit=9)) == [1]
    assert numbers(found(instance_id="a", limit=9)) == [3, 1]
    assert numbers(found(instance_id="a", app_name="billing", limit=9)) == [3]
    assert numbers(found(instance_id="b", app_name="shop", limit=9)) == [2]
    assert found(instance_id="c", limit=9) == []
    assert found(app_name="none", limit=9) == []


def test_those_that_ended_before_a_time_are_forgotten(store: Store, reader: Reader) -> None:
    store.commit([worker(n, ended_at_ms=10 * n) for n in (1, 2, 3)] + [worker(4)])
    store.commit([TrimWorkers(ended_before_ms=30, keep=9, limit=9)])
    assert numbers(reader.ended_workers(limit=9)) == [3]
    assert numbers(reader.open_workers(limit=9)) == [4], "what is open is never forgotten"


def test_all_but_the_last_that_ended_are_forgotten(store: Store, reader: Reader) -> None:
    store.commit([worker(n, ended_at_ms=-n) for n in (1, 2, 3, 4)])
    store.commit([TrimWorkers(ended_before_ms=-99, keep=2, limit=9)])
    assert numbers(reader.ended_workers(limit=9)) == [2, 1], "by their ends, not by their ids"
    store.commit([TrimWorkers(ended_before_ms=-99, keep=0, limit=9)])
    assert reader.ended_workers(limit=9) == []


def test_so_many_are_forgotten_at_a_time_the_first_ended_first(
    store: Store, reader: Reader
) -> None:
    store.commit([worker(n, ended_at_ms=n) for n in (1, 2, 3, 4)])
    store.commit([TrimWorkers(ended_before_ms=99, keep=0, limit=3)])
    assert numbers(reader.ended_workers(limit=9)) == [4]


def test_one_that_is_forgotten_is_not_found_by_its_apps_and_may_come_again(
    store: Store, reader: Reader
) -> None:
    store.commit([worker(1, "shop", "billing", ended_at_ms=1)])
    store.commit([TrimWorkers(ended_before_ms=9, keep=9, limit=9)])
    assert reader.worker(id_of(1)) is None
    store.commit([worker(1, "billing", ended_at_ms=1)])
    assert reader.ended_workers(app_name="shop", limit=9) == []
    assert numbers(reader.ended_workers(app_name="billing", limit=9)) == [1]


def test_rows_are_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.commit([worker(1, "shop", ended_at_ms=1, body=b"x"), worker(2)])
    store.close()
    store = SqliteStore(tmp_path)
    reader = store.reader()
    assert numbers(reader.ended_workers(app_name="shop", limit=9)) == [1]
    assert numbers(reader.open_workers(limit=9)) == [2]
    store.close()
