"""Functions that are not async."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_steps_sleeps_retries_groups_and_events(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event_id = api.send(f"{app_id}/report")

    output = api.completed(event_id)

    (sent,) = output.pop("sent")
    assert output == {"doubled": 40, "sides": ["l", "r"]}
    assert api.completed(sent) == "sync too"
    names = api.step_names(api.run_id(event_id))
    assert names[:3] == ["load", "pause", "double"]
    assert sorted(names[3:5]) == ["left", "right"]
    assert names[5:] == ["send"]
    assert [note["main"] for note in stage.ran("load")] == [False]


def test_a_blocked_function_holds_up_no_other(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    blocked = api.send(f"{app_id}/block")
    stage.reached("block")

    assert api.completed(api.send(f"{app_id}/other")) == "sync too"

    assert api.status(blocked) == "Running"
    stage.open("block")
    assert api.completed(blocked) == "went on"
