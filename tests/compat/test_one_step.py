"""A function with one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_the_step_and_the_function_run_once(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event_id = api.send(f"{app_id}/user.created", {"name": "Ada"})

    output = api.completed(event_id)

    run_id = api.run_id(event_id)
    assert output == {"sent": {"text": "Hello, Ada"}, "run": run_id, "attempt": 0}
    (step,) = api.steps(run_id)
    assert (step.name, step.op, step.status) == ("compose", "RUN", "COMPLETED")
    assert step.output == {"text": "Hello, Ada"}
    assert [note["run"] for note in stage.ran("compose")] == [run_id]


def test_v2_shows_the_same_run(api: Api, app_id: str, worker: WorkerProcess) -> None:
    event_id = api.send(f"{app_id}/user.created", {"name": "Grace"})
    output = api.completed(event_id)

    run = api.run(api.run_id(event_id))

    assert run["status"] == "COMPLETED"
    assert run["output"] == output
    assert run["app"] == {"id": app_id}
    assert run["function"]["slug"] == "greet"
    assert run["trigger"] == {"eventIds": [event_id], "eventName": f"{app_id}/user.created"}
    listed = api.get(f"/v2/runs?appId={app_id}&status=COMPLETED")["data"]
    assert run["id"] in [other["id"] for other in listed]


def test_the_server_knows_the_worker(api: Api, app_id: str, worker: WorkerProcess) -> None:
    (connection,) = api.workers(instanceId=worker.instance_id)

    assert connection["status"] == "READY"
    assert connection["sdkLanguage"] == "py"
    (app,) = connection["apps"]
    assert (app["id"], app["functionCount"]) == (app_id, 1)
