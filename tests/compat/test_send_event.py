"""A function that starts another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import WorkerProcess


def test_send_event_starts_a_run_for_each_event(
    api: Api, app_id: str, worker: WorkerProcess
) -> None:
    event_id = api.send(f"{app_id}/order")

    first, second = api.completed(event_id)

    assert (api.completed(first), api.completed(second)) == (1, 2)
    (step,) = api.steps(api.run_id(event_id))
    assert (step.name, step.status) == ("notify", "COMPLETED")


def test_the_client_sends_from_within_a_step(api: Api, app_id: str, worker: WorkerProcess) -> None:
    (sent,) = api.completed(api.send(f"{app_id}/relay"))

    assert api.completed(sent) == 3
