"""Events with an id of their producer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_an_id_starts_a_function_once(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event = {"name": f"{app_id}/paid", "data": {}, "id": "order-7"}

    first = api.send_all([event])[0]
    second, third = api.send_all([event, event])

    assert api.completed(first) == "order-7"
    assert len({first, second, third}) == 3
    assert api.runs_of(second) == api.runs_of(third) == []
    assert [note["id"] for note in stage.ran("once")].count("order-7") == 1


def test_another_id_starts_it_again(api: Api, app_id: str, worker: WorkerProcess) -> None:
    assert api.completed(api.send(f"{app_id}/paid", id="order-8")) == "order-8"


def test_the_sdk_sends_the_id(api: Api, app_id: str, worker: WorkerProcess) -> None:
    first, second = api.completed(api.send(f"{app_id}/send"))

    assert api.completed(first) == "order-9"
    assert api.runs_of(second) == []
