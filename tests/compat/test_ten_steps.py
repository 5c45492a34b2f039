"""A function with ten steps in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_each_step_runs_once_and_in_order(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event_id = api.send(f"{app_id}/start")

    assert api.completed(event_id) == 55

    sums = [sum(range(1, number + 1)) for number in range(1, 11)]
    assert list(api.outputs(api.run_id(event_id)).items()) == [
        (f"add-{number}", {"data": total}) for number, total in enumerate(sums, 1)
    ]
    assert [note["number"] for note in stage.ran("add")] == list(range(1, 11))


def test_a_step_id_used_again_is_a_step_of_its_own(
    api: Api, app_id: str, worker: WorkerProcess
) -> None:
    event_id = api.send(f"{app_id}/repeat")

    assert api.completed(event_id) == [0, 1, 2]

    assert [step.output for step in api.steps(api.run_id(event_id))] == [
        {"data": 0},
        {"data": 1},
        {"data": 2},
    ]
