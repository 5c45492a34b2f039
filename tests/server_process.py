"""A server as users run it: a process of its own, on free ports, with its own directory."""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

READY_S = 30.0  # It takes under one second; two busy cores make it several.
STOP_S = 15.0
POLL_S = 0.02
LOG_LINES_KEPT = 2_000
PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_the_tests() -> None:
    """Runs in a new child: have it killed when the tests' process ends without ending it, as it
    does when a test runs out of time. Linux only; elsewhere such a child stays."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def clean_environ(**more: str) -> dict[str, str]:
    """This process's environment without settings of ours or of the official SDK, plus `more`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STEPWELL_", "INNGEST_"))
    }
    return kept | more


class ServerProcess:
    """One `stepwell dev` or `stepwell start`; `start` returns when it answers `/ready` with 200.

    Args:
        module: Another one that takes the same arguments, such as `tests.faulty_disk`.

    Attributes:
        api_url: Such as `http://127.0.0.1:40123`.
        gateway_url: Such as `ws://127.0.0.1:40124/v0/connect`.
        pid: For those who kill or stop it.
    """

    def __init__(
        self,
        *arguments: str,
        data_dir: Path,
        mode: str = "dev",
        environ: Mapping[str, str] | None = None,
        module: str = "stepwell.cli",
    ) -> None:
        self._command = [
            sys.executable, "-m", module, mode,
            "--host", "127.0.0.1",
            "--port", "0",
            "--connect-gateway-port", "0",
            "--data-dir", str(data_dir),
            *(["--no-discovery"] if mode == "dev" else []),
            *arguments,
        ]  # fmt: skip
        self.cwd = data_dir.parent
        self._environ = clean_environ(**(environ or {}))
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._announced = threading.Event()
        self._lines: list[str] = []
        self.api_url = ""
        self.gateway_url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it wrote so far, its last 2,000 lines."""
        return "\n".join(self._lines)

    def start(self) -> None:
        """Start it, once more if it has ended; the second time with the same data."""
        assert self._process is None, "the server runs already"
        self._announced.clear()
        self._process = subprocess.Popen(
            self._command,
            cwd=self.cwd,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C for the tests is not one for the server
            preexec_fn=die_with_the_tests,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            if not self._announced.wait(READY_S) or not self.api_url:
                raise AssertionError(f"the server did not start:\n{self.log}")
            poll(self._is_ready, "the server to be ready", timeout_s=READY_S)
        except BaseException:
            self.kill()
            raise

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None, "its output is a pipe"
        self.api_url = self.gateway_url = ""
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self._lines.append(line)
            del self._lines[:-LOG_LINES_KEPT]
            if '"message":"ready"' in line:
                record: dict[str, Any] = msgspec.json.decode(line)
                self.api_url = record["api_url"]
                self.gateway_url = record["gateway_url"]
                self._announced.set()
        self._announced.set()  # it ended: nobody need wait for more

    def _is_ready(self) -> bool:
        return self.get("/ready")[0] == 200

    def get(self, path: str) -> tuple[int, bytes]:
        """A GET without a credential: status and body."""
        connection = http.client.HTTPConnection(urlsplit(self.api_url).netloc, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None, "the server was not started"
        code = self._process.wait(STOP_S)
        assert self._reader is not None, "it is started with the process"
        self._reader.join(STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        return code

    def terminate(self) -> int:
        """Ask it to stop, as a service manager does; its exit code."""
        return self._stop(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power cut does to a process."""
        self._stop(signal.SIGKILL)

    def end(self) -> None:
        """Stop it if it runs, by force if asking does not help."""
        if self._process is None:
            return
        try:
            # Two signals: workers that are still connected are not waited for.
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGTERM)
            self._stop(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def _stop(self, number: int) -> int:
        assert self._process is not None, "the server was not started"
        self._process.send_signal(number)
        return self.wait()


def poll(condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
    """Wait until `condition` holds; errors of a connection count as not yet.

    Raises:
        AssertionError: It did not within `timeout_s`; the text names `what`.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline_s:
                raise
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        time.sleep(POLL_S)
