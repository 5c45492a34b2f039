"""Workers as users run them: a file of theirs, as a process, with the official SDK or with ours.

One source serves both. It is written for the official SDK; for ours its import lines are replaced,
and nothing else.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from tests.compat.api import wait_for
from tests.server_process import clean_environ, die_with_the_tests, poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.compat.api import Api

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).with_name("apps")

SUBSTITUTIONS = {
    "import inngest": "import stepwell as inngest",
    "from inngest.connect import connect": "from stepwell.connect import connect",
}
"""Whole lines of a source that is to run with our SDK."""

READY_S = 30.0
ENDS_S = 15.0


class Sdk(msgspec.Struct, frozen=True):
    """An SDK: its interpreter, and the lines to replace in an app."""

    name: str
    python: Path
    substitutions: dict[str, str]

    def source_of(self, text: str) -> str:
        """The app's source for this SDK."""
        lines = text.splitlines(keepends=True)
        return "".join(self._line(line) for line in lines)

    def _line(self, line: str) -> str:
        bare = line.rstrip("\n")
        return self.substitutions.get(bare, bare) + line[len(bare) :]


OFFICIAL = Sdk("official", ROOT / ".cache/official-py/bin/python", {})
OURS = Sdk("stepwell", Path(sys.executable), SUBSTITUTIONS)


class WorkerEnded(Exception):
    """A worker ended while somebody waited for it."""


def app_source(name: str) -> str:
    """The program `apps/<name>.py`."""
    return (APPS / f"{name}.py").read_text()


class Stage:
    """A directory that a test shares with the apps that it runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def ran(self, name: str) -> list[dict[str, Any]]:
        """What was noted under this name, in order."""
        return [note for note in self.notes() if note["name"] == name]

    def notes(self) -> list[dict[str, Any]]:
        """All that was noted, in order."""
        try:
            text = (self.directory / "ran").read_bytes()
        except FileNotFoundError:
            return []
        whole, _, _ = text.rpartition(b"\n")  # a killed process may leave half a line
        return [msgspec.json.decode(line) for line in whole.splitlines()]

    def reached(self, gate: str, *, times: int = 1) -> None:
        """Wait until that many have reached a gate, one after the other or at once."""
        poll(
            lambda: len(self.ran(f"gate {gate}")) >= times,
            f"gate {gate} to be reached {times} times",
            timeout_s=READY_S,
        )

    def open(self, gate: str) -> None:
        """Let all pass."""
        (self.directory / f"{gate}.open").touch()


class WorkerProcess:
    """An app at work. Each start is an instance of its own to the server, unless one is named.

    Args:
        source: Of the program, for the official SDK; see `app_source`.
        url: Of the server.
        app_id: What the program finds as `stage.APP`.
        environ: More variables; None removes one.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        source: str,
        *,
        sdk: Sdk,
        url: str,
        app_id: str,
        stage: Stage,
        environ: Mapping[str, str | None] | None = None,
        instance_id: str | None = None,
    ) -> None:
        assert sdk.python.exists(), f"{sdk.python} is missing; `make test` makes it"
        self.sdk = sdk
        self.app_id = app_id
        self.stage = stage
        self._fixed_instance = instance_id
        self.instance_id = ""
        number = next(self._numbers)
        self._file = stage.directory / f"app-{number}-{sdk.name}.py"
        self._file.write_text(sdk.source_of(source))
        self._log = stage.directory / f"app-{number}-{sdk.name}.log"
        given = {
            "INNGEST_DEV": url,
            "PYTHONPATH": str(APPS),
            "PYTHONUNBUFFERED": "1",
            "STAGE_APP": app_id,
            "STAGE_DIRECTORY": str(stage.directory),
            **(environ or {}),
        }
        self._environ = clean_environ(**{k: v for k, v in given.items() if v is not None})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    @property
    def log(self) -> str:
        """What all its starts have printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None, "the worker was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, again if it has ended."""
        assert not self.is_running, "the worker runs already"
        self.instance_id = self._fixed_instance or f"{self.app_id}-{next(self._numbers)}"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.sdk.python), str(self._file)],
                cwd=self.stage.directory,
                env={**self._environ, "STAGE_INSTANCE": self.instance_id},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_the_tests,
            )

    def ready(self, api: Api, *, status: str = "READY", timeout_s: float = READY_S) -> str:
        """Wait until the server counts on it; the connection's id."""

        def look() -> str | None:
            for worker in api.workers(instanceId=self.instance_id, status=status):
                connection_id: str = worker["id"]
                return connection_id
            if self._process is not None and self._process.poll() is not None:
                raise WorkerEnded(f"{self._file.name} has ended:\n{self.log}")
            return None

        what = f"{self._file.name} to be {status}"
        return wait_for(look, lambda: f"{what}:\n{self.log[-4_000:]}", timeout_s=timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        """Ask it to end; its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout_s: float = ENDS_S) -> int:
        """Wait until it has ended by itself; its exit status, negative for a signal."""
        assert self._process is not None, "the worker was not started"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._file.name} did not end:\n{self.log[-4_000:]}") from None

    def end(self) -> None:
        """Kill it if it runs."""
        if self.is_running:
            self.kill()


def ready_all(workers: Iterable[WorkerProcess], api: Api) -> None:
    """Wait until the server counts on each of them."""
    for worker in workers:
        worker.ready(api)
