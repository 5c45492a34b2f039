"""The signing key is changed while workers of every SDK are connected."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.chaos.transport.worker import LANGUAGES, Noted
from tests.compat.api import Api, wait_for
from tests.compat.lasting_server import LastingServer, free_port
from tests.compat.worker import Stage

if TYPE_CHECKING:
    from pathlib import Path

OLD = "signkey-prod-" + "1a" * 32
NEW = "signkey-prod-" + "2b" * 32
EVENT_KEY = "event-key-1"
READY_S = 45.0


@pytest.mark.chaos
@pytest.mark.compat
@pytest.mark.timeout(120)
def test_a_worker_that_knows_both_keys_goes_over_to_the_new_one(tmp_path: Path) -> None:  # 53
    stage = Stage(tmp_path / "stage")
    port, gateway_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"

    def server(key: str) -> LastingServer:
        return LastingServer(
            "--port", str(port),
            "--connect-gateway-port", str(gateway_port),
            "--signing-key", key,
            "--event-key", EVENT_KEY,
            data_dir=tmp_path / "data",
            mode="start",
        )  # fmt: skip

    keys = {
        "INNGEST_EVENT_KEY": EVENT_KEY,
        "INNGEST_SIGNING_KEY": OLD,
        "INNGEST_SIGNING_KEY_FALLBACK": NEW,
    }
    workers = [
        Noted(language, version="v1", url=url, stage=stage, environ=keys) for language in LANGUAGES
    ]

    def all_ready(api: Api) -> None:
        def look() -> bool | None:
            for worker in workers:
                if not worker.is_running:  # it has given up: its host starts it again
                    worker.start()
            seen = {each["instanceId"] for each in api.workers(status="READY")}
            return all(worker.instance_id in seen for worker in workers) or None

        def what() -> str:
            logs = [worker.log for worker in workers]
            return "\n".join(["the workers to be ready:", *logs])

        wait_for(look, what, timeout_s=READY_S)

    with contextlib.ExitStack() as running:
        for worker in workers:
            running.callback(worker.remove_source)
            running.callback(worker.end)
        for key in (OLD, NEW):
            api = Api(lambda: url, signing_key=key, event_key=EVENT_KEY)
            with server(key) as running_server:
                all_ready(api)
                sent = [api.send(f"{worker.language.name}/noted") for worker in workers]
                for event_id in sent:
                    assert len(api.completed(event_id)) == 3
                running_server.kill()
