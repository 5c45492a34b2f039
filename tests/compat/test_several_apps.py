"""Several apps on one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import WorkerProcess


def test_each_call_reaches_the_function_of_its_app(
    api: Api, app_id: str, worker: WorkerProcess
) -> None:
    event_id = api.send(f"{app_id}/both")

    runs = api.ended(event_id, count=2)

    assert sorted(run["output"] for run in runs) == ["bank", "shop"]
    apps = {api.run(run["run_id"])["app"]["id"]: run["output"] for run in runs}
    assert apps == {f"{app_id}-bank": "bank", f"{app_id}-shop": "shop"}
    assert api.completed(api.send(f"{app_id}/bank")) == "only the bank"


def test_one_connection_carries_them(api: Api, app_id: str, worker: WorkerProcess) -> None:
    (connection,) = api.workers(instanceId=worker.instance_id)

    assert sorted(app["id"] for app in connection["apps"]) == [f"{app_id}-bank", f"{app_id}-shop"]
