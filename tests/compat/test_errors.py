"""The errors that users raise and catch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_a_non_retriable_error_fails_at_once(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    error = api.failed(api.send(f"{app_id}/hopeless"))

    assert (error["name"], error["message"]) == ("NonRetriableError", "there is no point")
    assert len(stage.ran("hopeless")) == 1


def test_a_non_retriable_error_in_a_step_fails_the_run(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    error = api.failed(api.send(f"{app_id}/hopeless-step"))

    assert error["message"] == "not even once more"
    assert len(stage.ran("refuse")) == 1


def test_retry_after_is_obeyed(api: Api, app_id: str, worker: WorkerProcess, stage: Stage) -> None:
    assert api.completed(api.send(f"{app_id}/later")) == 1

    first, second = stage.ran("call")
    assert (first["attempt"], second["attempt"]) == (0, 1)
    # The general interval is shorter. The official SDK names a time, in milliseconds.
    assert second["at"] - first["at"] >= 1.9


def test_a_step_error_can_be_caught(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event_id = api.send(f"{app_id}/caught")

    assert api.completed(event_id) == {
        "message": "by zero",
        "name": "ZeroDivisionError",
        "text": "recovered from ZeroDivisionError",
    }

    assert [note["attempt"] for note in stage.ran("divide")] == [0, 1]
    divide, recover = api.steps(api.run_id(event_id))
    assert (divide.status, divide.output["message"]) == ("FAILED", "by zero")
    assert (recover.status, recover.name) == ("COMPLETED", "recover")


def test_a_step_error_that_nobody_catches_fails_the_run(
    api: Api, app_id: str, worker: WorkerProcess
) -> None:
    event_id = api.send(f"{app_id}/uncaught")

    assert api.failed(event_id)["message"] == "by zero"

    (divide,) = api.steps(api.run_id(event_id))
    assert (divide.name, divide.status) == ("divide", "FAILED")
