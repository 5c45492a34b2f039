"""Two hundred runs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess

RUNS = 200


def test_all_of_them_end_and_each_step_runs_once(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    events = [{"name": f"{app_id}/task", "data": {"number": number}} for number in range(RUNS)]

    event_ids = api.send_all(events)

    assert [api.completed(event_id) for event_id in event_ids] == [-n for n in range(RUNS)]
    for name in ("first", "second"):
        assert sorted(note["number"] for note in stage.ran(name)) == list(range(RUNS))
    for event_id in event_ids[::20]:
        assert api.step_names(api.run_id(event_id)) == ["first", "second"]
