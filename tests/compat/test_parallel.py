"""Steps side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


@pytest.mark.parametrize("width", [5, 50])
def test_all_branches_run_once_and_their_results_come_in_order(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage, width: int
) -> None:
    event_id = api.send(f"{app_id}/fan", {"width": width})

    squares = [number * number for number in range(width)]
    assert api.completed(event_id) == [sum(squares), *squares]

    run_id = api.run_id(event_id)
    outputs = api.outputs(run_id)
    assert outputs.pop("total") == {"data": sum(squares)}
    assert outputs == {f"square-{n}": {"data": n * n} for n in range(width)}
    numbers = [note["number"] for note in stage.ran("square") if note["run"] == run_id]
    assert sorted(numbers) == list(range(width))


def test_branches_run_at_the_same_time(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event_id = api.send(f"{app_id}/meet")

    stage.reached("left")  # neither can end before the other has begun
    stage.reached("right")
    stage.open("right")
    stage.open("left")

    assert api.completed(event_id) == ["left", "right"]
