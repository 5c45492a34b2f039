"""A worker that takes two calls at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_five_runs_are_never_more_than_two_at_once(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    events = [{"name": f"{app_id}/task", "data": {"number": number}} for number in range(5)]
    event_ids = api.send_all(events)
    stage.reached("work", times=2)

    # Two are held at the gate; an echo through the server shows that no third one came.
    (connection,) = api.workers(instanceId=worker.instance_id)
    assert connection["maxWorkerConcurrency"] == 2
    assert len(stage.ran("work")) == 2
    statuses = [api.status(event_id) for event_id in event_ids]
    assert sorted(statuses) == ["Running"] * 2 + ["Scheduled"] * 3

    stage.open("work")
    assert [api.completed(event_id) for event_id in event_ids] == list(range(5))
    counts = [note["at_work"] for note in stage.ran("work")]
    assert len(counts) == 5
    assert max(counts) == 2
    for event_id in event_ids:  # waiting uses no attempt
        (step,) = api.steps(api.run_id(event_id))
        assert step.attempts == 0
