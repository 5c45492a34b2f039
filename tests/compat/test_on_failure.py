"""A function that fails for good, and its failure handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.api import wait_for

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_the_handler_runs_with_the_failure(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event_id = api.send(f"{app_id}/order.paid", {"order": 7})

    error = api.failed(event_id)

    assert (error["name"], error["message"]) == ("ValueError", "no such card")
    assert [note["attempt"] for note in stage.ran("settle")] == [0, 1]
    note = wait_for(lambda: next(iter(stage.ran("apologise")), None), "the handler to run")
    assert note["event"] == "inngest/function.failed"
    assert note["order"] == 7
    assert note["run"] == api.run_id(event_id)
    assert note["function"] == f"{app_id}-settle"
    assert note["error"] == "no such card"

    def handled() -> list[str] | None:
        runs = api.get(f"/v2/runs?appId={app_id}&status=COMPLETED").get("data", [])
        return [run["function"]["slug"] for run in runs] or None

    assert wait_for(handled, "the handler's run to end") == ["settle-failure"]
