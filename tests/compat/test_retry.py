"""A step and a function that fail and are tried again."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from tests.compat.conftest import RETRY_INTERVAL_S

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_a_step_is_tried_until_it_succeeds(
    api: Api, app_id: str, worker: WorkerProcess, stage: Stage
) -> None:
    event_id = api.send(f"{app_id}/step")

    assert api.completed(event_id) == {"first": "kept", "charge": 2}

    first, charge = api.steps(api.run_id(event_id))
    assert (first.output, first.attempts) == ({"data": "kept"}, 0)
    assert (charge.status, charge.output, charge.attempts) == ("COMPLETED", {"data": 2}, 3)
    assert len(stage.ran("first")) == 1
    tries = stage.ran("charge")
    assert [note["attempt"] for note in tries] == [0, 1, 2]
    waits = [after["at"] - before["at"] for before, after in pairwise(tries)]
    assert min(waits) >= float(RETRY_INTERVAL_S), waits


def test_a_function_is_tried_again(api: Api, app_id: str, worker: WorkerProcess) -> None:
    event_id = api.send(f"{app_id}/function")

    assert api.completed(event_id) == 1
