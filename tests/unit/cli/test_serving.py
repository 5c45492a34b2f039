"""`stepwell dev` and `stepwell start` as processes: what they say, how they end."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from stepwell.version import __version__
from tests.server_process import clean_environ, poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server_process import ServerProcess

WAIT_S = 15.0
EXAMPLES = Path(__file__).parents[3] / "examples"
CLI = [sys.executable, "-m", "stepwell.cli"]

pytestmark = pytest.mark.timeout(60)


def fails(cwd: Path, *words: str, python: tuple[str, ...] = (), **environ: str) -> str:
    """The one line on stderr of a command that must not start."""
    done = subprocess.run(
        [sys.executable, *python, *CLI[1:], *words],
        cwd=cwd,
        env=clean_environ(**environ),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_without_a_terminal_the_start_is_one_json_record(server: ServerProcess) -> None:
    records = [msgspec.json.decode(line) for line in server.log.splitlines()]
    (ready,) = [record for record in records if record["message"] == "ready"]
    assert ready["version"] == __version__
    assert ready["mode"] == "dev"
    assert ready["api_url"] == server.api_url
    assert ready["gateway_url"].startswith("ws://127.0.0.1:")
    assert ready["data_dir"].endswith("/data")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_order(server: ServerProcess, number: signal.Signals) -> None:
    os.kill(server.pid, number)
    assert server.wait() == 0
    assert [msgspec.json.decode(line)["message"] for line in server.log.splitlines()][-1] == (
        "stopped"
    )


def test_a_draining_server_goes_on_until_a_second_signal_ends_it(server: ServerProcess) -> None:
    worker = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "hello.py")],
        env=clean_environ(STEPWELL_DEV=server.api_url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        poll(lambda: b'"READY"' in server.get("/v2/workers")[1], "the worker", timeout_s=WAIT_S)
        os.kill(server.pid, signal.SIGTERM)
        poll(lambda: server.get("/ready")[0] == 503, "the drain", timeout_s=WAIT_S)
        assert b"draining" in server.get("/ready")[1]
        assert server.get("/health")[0] == 200
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM
    finally:
        worker.kill()
        worker.wait()


def test_data_outlives_the_server_and_a_second_server_does_not_get_it(
    server: ServerProcess,
) -> None:
    data_dir = msgspec.json.decode(server.log.splitlines()[-1])["data_dir"]
    words = ("dev", "--port", "0", "--connect-gateway-port", "0", "--data-dir", data_dir)
    told = fails(server.cwd, *words)
    assert "data" in told
    server.terminate()
    server.start()
    assert server.get("/health")[0] == 200


def test_a_terminal_gets_lines_for_people(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [*CLI, "dev", "--in-memory", "--port", "0", "--connect-gateway-port", "0"],
            cwd=tmp_path,
            env=clean_environ(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        shown, asked = b"", False
        with contextlib.suppress(OSError):  # a terminal whose last user left
            while chunk := screen.read(4_096):
                shown += chunk
                if b"send user.created" in shown and not asked:
                    process.terminate()
                    asked = True
    assert process.wait(WAIT_S) == 0
    text = shown.decode()
    assert f"Stepwell {__version__}, development server" in text
    assert "API      http://127.0.0.1:" in text
    assert "Gateway  ws://127.0.0.1:" in text
    assert "Data     in memory" in text
    assert "python examples/hello.py" in text
    assert "{" not in text.replace("'{\"user_id\": 7}'", "")


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = fails(tmp_path, "dev", "--in-memory", "--port", str(port))
    assert f"127.0.0.1:{port}" in told
    assert "[port_taken]" in told


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("start",), "signing_key_missing"),
        (("start", "--signing-key", "aa"), "event_key_missing"),
        (("start", "--signing-key", "no"), "signing_key_invalid"),
        (("dev", "--port", "many"), "config_invalid"),
        (("dev", "--config", "none.toml"), "config_invalid"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    tmp_path: Path, words: tuple[str, ...], code: str
) -> None:
    assert f"[{code}]" in fails(tmp_path, *words)


def test_a_server_without_assertions_refuses_to_run(tmp_path: Path) -> None:
    told = fails(tmp_path, "dev", "--in-memory", "--port", "0", python=("-O",))
    assert "[assertions_off]" in told


def test_start_wants_keys_and_takes_them_from_the_environment(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(
        mode="start", environ={"STEPWELL_SIGNING_KEY": "aa11", "INNGEST_EVENT_KEY": "k1,k2"}
    )
    assert server.get("/health")[0] == 200
    assert server.get("/v2/runs")[0] == 401
    assert "aa11" not in server.log
