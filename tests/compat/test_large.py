"""Large events, outputs and states."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess

MIB = 2**20


def test_an_output_of_1_mib(api: Api, app_id: str, worker: WorkerProcess) -> None:
    event_id = api.send(f"{app_id}/output")

    output = api.completed(event_id)

    assert (len(output), set(output)) == (MIB, {"x"})
    (make,) = api.steps(api.run_id(event_id))
    assert len(make.output["data"]) == MIB


def test_an_event_of_2_mib(api: Api, app_id: str, worker: WorkerProcess) -> None:
    size = 2 * MIB

    event_id = api.send(f"{app_id}/event", {"text": "y" * size})

    assert api.completed(event_id) == {"step": size, "function": size}


def test_a_state_over_4_mib_is_fetched_from_the_api(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event_id = api.send(f"{app_id}/state", {"order": "7"})

    assert api.completed(event_id) == {
        "sizes": [MIB] * 5,
        "letters": "abcde",
        "order": "7",
        "events": 1,
    }

    assert [note["letter"] for note in stage.ran("make")] == list("abcde")
    sizes = [len(step.output["data"]) for step in api.steps(api.run_id(event_id))]
    assert sizes == [MIB] * 5 + [1]


def test_a_large_state_of_a_sync_function(api: Api, app_id: str, worker: WorkerProcess) -> None:
    event_id = api.send(f"{app_id}/sync", {"order": 8})

    assert api.completed(event_id) == {"letters": "vwxyz", "order": 8}
