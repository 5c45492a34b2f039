"""What the pages say of the end of a connection: signals, `close` and `closed`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.compat.api import wait_for
from tests.docs.seed_sides import GO, TYPESCRIPT_3, TYPESCRIPT_4, Side, params, snippet
from tests.docs.seed_workers import check_run, connected

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.api import Api
    from tests.server_process import ServerProcess

TYPESCRIPT = (TYPESCRIPT_3, TYPESCRIPT_4)


def ended_by(
    number: signal.Signals, dev: ServerProcess, api: Api, side: Side, scratch: Path
) -> tuple[int, bool]:
    """How the block about signals ends by one: its status, and whether it told the server."""
    directory = scratch / number.name
    directory.mkdir()
    block = snippet(side, "lifecycle_signals")
    with side.worker(block, directory, {"INNGEST_DEV": dev.api_url}) as worker:
        (connection,) = connected(api, worker)
        if side is GO:  # its program has no connection yet that it could close
            check_run(api, worker)
        worker.signal(number)
        status = worker.wait()
    seen = wait_for(
        lambda: next(iter(api.workers(id=connection["id"], status="DISCONNECTED")), None),
        "the server to see it go",
    )
    return status, seen["disconnectReason"] == "WORKER_SHUTDOWN"


@pytest.mark.parametrize("side", params(*TYPESCRIPT))
def test_only_the_signals_in_the_list_close_the_connection(
    dev: ServerProcess, api: Api, side: Side, tmp_path: Path
) -> None:
    assert ended_by(signal.SIGTERM, dev, api, side, tmp_path) == (0, True)
    assert ended_by(signal.SIGINT, dev, api, side, tmp_path) == (-signal.SIGINT, False)


@pytest.mark.parametrize("side", params(GO))
def test_the_context_that_is_notified_lets_the_program_end(
    dev: ServerProcess, api: Api, side: Side, tmp_path: Path
) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        status, _ = ended_by(number, dev, api, side, tmp_path)
        # This SDK drops its socket with the context before it can tell the server.
        assert status == 0


@pytest.mark.parametrize("side", params(*TYPESCRIPT))
def test_a_connection_that_is_closed_lets_the_program_end(
    dev: ServerProcess, side: Side, tmp_path: Path
) -> None:
    block = snippet(side, "lifecycle_close")
    with side.worker(block, tmp_path, {"INNGEST_DEV": dev.api_url}) as worker:
        assert worker.wait() == 0
        assert "The worker connection is: ACTIVE" in worker.log


@pytest.mark.parametrize("side", params(*TYPESCRIPT))
def test_closed_is_a_promise_that_a_signal_fulfils(
    dev: ServerProcess, api: Api, side: Side, tmp_path: Path
) -> None:
    block = snippet(side, "lifecycle_closed")
    with side.worker(block, tmp_path, {"INNGEST_DEV": dev.api_url}) as worker:
        connected(api, worker)
        worker.signal(signal.SIGTERM)

        assert worker.wait() == 0  # 13 if it had ended at the `await`
