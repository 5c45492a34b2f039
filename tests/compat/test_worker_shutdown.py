"""A worker that is asked to end while it is at work."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.compat.api import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.api import Api
    from tests.compat.worker import Stage, WorkerProcess


def test_it_finishes_its_work_and_leaves_in_good_order(
    api: Api, app_id: str, start_worker: Callable[[str], WorkerProcess], stage: Stage
) -> None:
    worker = start_worker("two_steps")
    event_id = api.send(f"{app_id}/order")
    stage.reached("pack")

    worker.signal(signal.SIGTERM)

    connection_id = worker.ready(api, status="DRAINING")
    assert worker.is_running
    stage.open("pack")
    assert worker.wait() == 0
    connection = wait_for(
        lambda: next(iter(api.workers(id=connection_id, status="DISCONNECTED")), None),
        "the connection's end",
    )
    assert connection["disconnectReason"] == "WORKER_SHUTDOWN"

    # Its last result is stored; the rest of the run waits for another worker.
    run_id = api.run_id(event_id)
    assert api.outputs(run_id) == {"pack": {"data": "packed"}}
    start_worker("two_steps")
    assert api.completed(event_id) == "packed and sent"
    assert len(stage.ran("pack")) == len(stage.ran("send")) == 1


def test_an_idle_worker_leaves_at_once(
    api: Api, start_worker: Callable[[str], WorkerProcess]
) -> None:
    worker = start_worker("two_steps")
    connection_id = worker.ready(api)

    assert worker.terminate() == 0

    (connection,) = api.workers(id=connection_id)
    assert connection["status"] == "DISCONNECTED"
    assert connection["disconnectReason"] == "WORKER_SHUTDOWN"
