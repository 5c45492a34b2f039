"""`stepwell worker` with a real server: one process, several, and code that changes."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

import stepwell
from tests.e2e.worker.worker_process import PROGRAM, WorkerProcess, health, is_alive
from tests.server_process import ServerProcess, poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)

WAIT_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one."""
    data_dir = tmp_path_factory.mktemp("server") / "data"
    with ServerProcess("--in-memory", data_dir=data_dir) as running:
        yield running.api_url


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A directory with `shop.py`."""
    (tmp_path / "shop.py").write_text(PROGRAM)
    return tmp_path


def send(server: str, name: str) -> None:
    client = stepwell.Client(app_id="tests", api_base_url=server, is_production=False,
                             event_api_base_url=server)  # fmt: skip
    client.send_sync(stepwell.Event(name=name))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


# --- one process ---


def test_functions_of_a_client_are_run_and_finished_at_the_end(server: str, program: Path) -> None:
    with WorkerProcess("shop:client", "--instance-id", "box", cwd=program, server=server) as worker:
        worker.says(f"connected to {server} as box, 2 functions")
        send(server, f"{program.name}/slow")
        worker.noted("begun")

        worker.tell(signal.SIGTERM)
        worker.says("stopping: waiting for 1 call")
        (program / "go").touch()

        assert worker.ended() == 0
        assert worker.notes() == ["begun", "ended"]


def test_connection_of_the_program_is_run_with_what_the_command_line_says(
    server: str, program: Path
) -> None:
    (program / "main.py").write_text(
        "from stepwell.connect import connect\n"
        "from shop import client\n"
        "connection = connect([(client, client.functions)])\n"
        "print(connection.instance_id, connection.max_worker_concurrency, "
        "connection.app_versions, flush=True)\n"
    )
    with WorkerProcess(
        "main:connection",
        *("--instance-id", "box", "--max-worker-concurrency", "3", "--app-version", "v7"),
        cwd=program,
        server=server,
    ) as worker:
        worker.says(rf"box 3 \{{'{program.name}': 'v7'\}}")
        worker.says("connected to")
        worker.tell(signal.SIGINT)
        assert worker.ended() == 0


def test_health_port_is_served(server: str, program: Path) -> None:
    port = free_port()
    with WorkerProcess(
        "shop:client", "--health-port", str(port), cwd=program, server=server
    ) as worker:
        worker.says("connected to")
        assert health(port)[0] == 200
        assert health(port, "/live")[0] == 200
        worker.tell(signal.SIGTERM)
        assert worker.ended() == 0


def test_wrong_target_is_one_line(server: str, program: Path) -> None:
    with WorkerProcess("shop:clint", cwd=program, server=server) as worker:
        assert worker.ended() == 1
        [line] = worker.output.splitlines()
        assert line == (
            "stepwell: module shop has no 'clint'; did you mean shop:client? "
            "[worker_target_invalid]"
        )


# --- several ---


def test_processes_are_supervised(server: str, program: Path) -> None:
    port = free_port()
    with WorkerProcess(
        *("shop:client", "--processes", "2", "--instance-id", "box", "--health-port", str(port)),
        cwd=program,
        server=server,
    ) as worker:
        worker.says("as box-1, 2 functions")
        worker.says("as box-2, 2 functions")
        poll(lambda: health(port)[0] == 200, "both to be ready", timeout_s=WAIT_S)
        assert health(port)[1]["instance_id"] == "box-1, box-2"

        [victim] = worker.says(r"process 2 is pid (\d+)")
        os.kill(int(victim), signal.SIGKILL)

        worker.says(rf"process 2 \(pid {victim}\) ended with signal 9; starting it again in 0.5 s")
        worker.says("as box-2, 2 functions", times=2)
        poll(lambda: health(port)[0] == 200, "both to be ready again", timeout_s=WAIT_S)

        send(server, f"{program.name}/slow")
        worker.noted("begun")
        worker.tell(signal.SIGTERM)
        worker.says("stopping: 2 processes finish their calls")
        assert health(port)[1]["reason"] == "closing"
        (program / "go").touch()

        assert worker.ended() == 0
        assert worker.notes() == ["begun", "ended"]


def test_processes_end_with_their_supervisor(server: str, program: Path) -> None:
    with WorkerProcess(
        "shop:client", "--processes", "2", "--instance-id", "orphans", cwd=program, server=server
    ) as worker:
        worker.says("as orphans-", times=2)
        pids = [int(pid) for pid in worker.says(r"is pid (\d+)", times=2)]

        worker.tell(signal.SIGKILL)

        poll(lambda: not any(map(is_alive, pids)), "the processes to end", timeout_s=WAIT_S)


def test_second_signal_does_not_wait_for_calls(server: str, program: Path) -> None:
    with WorkerProcess("shop:client", "--processes", "2", cwd=program, server=server) as worker:
        worker.says("connected to", times=2)
        send(server, f"{program.name}/slow")
        worker.noted("begun")
        worker.tell(signal.SIGINT)
        worker.says("stopping: waiting for 1 call")

        worker.tell(signal.SIGINT)

        assert worker.ended() == 0
        assert worker.notes() == ["begun"]


def test_processes_that_cannot_start_are_not_started_again(server: str, program: Path) -> None:
    (program / "shop.py").write_text("import stepwell\nclient = stepwell.Client(app_id='shop')\n")
    with WorkerProcess("shop:client", "--processes", "2", cwd=program, server=server) as worker:
        assert worker.ended() == 1
        assert "shop:client is a client without functions" in worker.output
        assert "starting it again" not in worker.output


# --- code that changes ---


def test_changed_code_takes_over_and_broken_code_does_not(server: str, program: Path) -> None:
    shop = program / "shop.py"
    with WorkerProcess("shop:client", "--reload", cwd=program, server=server) as worker:
        worker.says("connected to")
        send(server, f"{program.name}/note")
        old = worker.noted("one").split()[1]

        shop.write_text(PROGRAM.replace('"one"', '"two"'))

        worker.says("shop.py changed")
        worker.says("connected to", times=2)
        poll(lambda: not is_alive(int(old)), "the old process to end", timeout_s=WAIT_S)
        send(server, f"{program.name}/note")
        kept = worker.noted("two").split()[1]

        shop.write_text("def broken(:\n")
        worker.says("SyntaxError")
        worker.says("process 1 keeps the code that it has")
        assert is_alive(int(kept))

        shop.write_text(PROGRAM.replace('"one"', '"three"'))
        worker.says("connected to", times=3)
        poll(lambda: not is_alive(int(kept)), "the old process to end", timeout_s=WAIT_S)
        send(server, f"{program.name}/note")
        worker.noted("three")

        worker.tell(signal.SIGTERM)
        assert worker.ended() == 0


def test_old_code_finishes_its_calls(server: str, program: Path) -> None:
    with WorkerProcess("shop:client", "--reload", cwd=program, server=server) as worker:
        worker.says("connected to")
        send(server, f"{program.name}/slow")
        worker.noted("begun")

        (program / "shop.py").write_text(PROGRAM + "\n# changed\n")
        worker.says("stopping: waiting for 1 call")
        (program / "go").touch()

        worker.noted("ended")
        assert worker.notes() == ["begun", "ended"]
        worker.tell(signal.SIGTERM)
        assert worker.ended() == 0
