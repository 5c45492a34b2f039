"""A server that is restarted in good order while workers are at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compat.api import Api
from tests.compat.lasting_server import LastingServer
from tests.compat.worker import Stage, WorkerProcess, app_source

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.worker import Sdk


@pytest.mark.timeout(60)  # the official worker asks again after five seconds
def test_workers_come_back_and_deliver_what_they_finished_meanwhile(
    tmp_path: Path, sdk: Sdk, app_id: str
) -> None:
    stage = Stage(tmp_path / "stage")
    server = LastingServer("--connect-drain-wait", "2", data_dir=tmp_path / "data")
    api = Api(lambda: server.api_url)
    with server:
        worker = WorkerProcess(
            app_source("two_steps"), sdk=sdk, url=server.api_url, app_id=app_id, stage=stage
        )
        with worker:
            first_connection = worker.ready(api)
            event_id = api.send(f"{app_id}/order")
            stage.reached("pack")

            assert server.terminate() == 0
            stage.open("pack")  # it ends while there is no server
            server.start()

            assert worker.ready(api) != first_connection
            assert api.completed(event_id) == "packed and sent"
            (pack, send) = api.steps(api.run_id(event_id))
            assert (pack.name, pack.attempts, send.name, send.attempts) == ("pack", 0, "send", 0)
            assert len(stage.ran("pack")) == 1, "its result was delivered, not made again"
            assert worker.is_running

            # What it was given before, and what comes now: it is an ordinary worker again.
            assert api.completed(api.send(f"{app_id}/order")) == "packed and sent"
