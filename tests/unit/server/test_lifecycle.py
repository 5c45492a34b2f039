"""Events as functions see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from stepwell.engine.catalog import Catalog
from stepwell.engine.rows import RunStatus
from stepwell.errors import StoreError
from stepwell.server.lifecycle import event_body, event_data
from stepwell.store.memory import MemoryStore
from tests.unit.server.api.rows import (
    SHOP,
    T0_MS,
    ended,
    event_id,
    put_event,
    put_run,
    run_id,
    text,
)

if TYPE_CHECKING:
    from stepwell.engine.rows import PutEvent, Write


def catalog() -> Catalog:
    made = Catalog()
    made.load([SHOP[0]], SHOP[1:])
    return made


def store(*rows: Write) -> MemoryStore:
    made = MemoryStore()
    made.commit([*SHOP, put_event(runs=(run_id(1),), external_id="order-7"), *rows])
    return made


def finished() -> PutEvent:
    return put_event(2, name="inngest/function.finished", data=b"", source_run=run_id(1))


def data_of(made: MemoryStore, n: int = 2) -> dict[str, object]:
    reader = made.reader()
    record = reader.event(event_id(n))
    assert record is not None
    decoded: dict[str, object] = msgspec.json.decode(event_data(record, reader, catalog()))
    return decoded


def test_a_producers_event_is_given_whole() -> None:
    reader = store().reader()
    record = reader.event(event_id(1))
    assert record is not None
    assert msgspec.json.decode(event_body(record, reader, catalog())) == {
        "data": {"order": 7},
        "id": "order-7",
        "name": "shop/order.paid",
        "ts": T0_MS,
        "user": {},
    }


def test_an_event_without_an_id_of_its_own_has_the_internal_one() -> None:
    made = MemoryStore()
    made.commit([put_event()])
    record = made.reader().event(event_id(1))
    assert record is not None
    body = msgspec.json.decode(event_body(record, made.reader(), catalog()))
    assert body["id"] == text(event_id(1))


@pytest.mark.parametrize(
    ("status", "name"), [(RunStatus.COMPLETED, "Completed"), (RunStatus.FAILED, "Failed")]
)
def test_a_finish_event_tells_of_its_run(status: RunStatus, name: str) -> None:
    output = b'{"name":"E","message":"m"}'
    data = data_of(store(put_run(), ended(status=status, output=output), finished()))
    assert data["_inngest"] == {"status": name}
    assert (data["function_id"], data["run_id"]) == ("shop-ship", text(run_id(1)))
    assert data["result"] == {"name": "E", "message": "m"}
    assert ("error" in data) is (status is RunStatus.FAILED)
    assert isinstance(data["event"], dict)
    assert data["event"]["id"] == "order-7"


def test_a_cancelled_run_has_neither_result_nor_error() -> None:
    run = ended(status=RunStatus.CANCELLED, output=b"")
    data = data_of(store(put_run(), run, finished()))
    assert data["_inngest"] == {"status": "Cancelled"}
    assert "error" not in data
    assert "result" not in data


def test_a_finish_event_without_its_run_means_lost_rows() -> None:
    with pytest.raises(StoreError, match="whose rows are not stored"):
        data_of(store(finished()))
