"""A function that sleeps, for a duration and until a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import WorkerProcess


def test_sleep_goes_on_after_the_duration(api: Api, app_id: str, worker: WorkerProcess) -> None:
    event_id = api.send(f"{app_id}/nap")

    before, after = api.completed(event_id)

    assert after - before >= 1.0
    before_step, nap, after_step = api.steps(api.run_id(event_id))
    assert (nap.name, nap.op, nap.status) == ("nap", "SLEEP", "COMPLETED")
    assert (before_step.name, after_step.name) == ("before", "after")


def test_sleep_until_goes_on_at_the_time(api: Api, app_id: str, worker: WorkerProcess) -> None:
    until = time.time() + 1.5

    event_id = api.send(f"{app_id}/wake", {"until": until})

    assert api.completed(event_id) >= int(until)  # SDKs may send whole seconds
    assert [step.op for step in api.steps(api.run_id(event_id))] == ["SLEEP", "RUN"]


def test_a_time_that_is_past_does_not_wait(api: Api, app_id: str, worker: WorkerProcess) -> None:
    event_id = api.send(f"{app_id}/wake", {"until": time.time() - 3_600})

    api.completed(event_id)

    assert api.step_names(api.run_id(event_id)) == ["until", "after"]
