"""The programs of the blocks at work: as processes, and what the server sees of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.compat.api import wait_for
from tests.docs.seed_blocks import APP_ID, EVENT, FUNCTION
from tests.server_process import clean_environ, die_with_the_tests, poll

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.compat.api import Api
    from tests.docs.seed_blocks import Snippet

READY_S = 15.0
ENDS_S = 15.0
RUN_ENDS_S = 10.0  # under the time of a test, so that its message is seen
LOG_CHARS_SHOWN = 4_000


A_MOMENT = timedelta(milliseconds=5)
"""Times of the API are whole milliseconds."""


class SeedWorker:
    """A program of a user's; it ends with the block that entered it.

    Args:
        directory: Where it runs, and where its output is kept.
        environ: Its variables beside this process's own; none of ours or the SDKs' but these.
    """

    def __init__(
        self, command: Sequence[str | Path], directory: Path, environ: Mapping[str, str]
    ) -> None:
        self._command = [str(word) for word in command]
        self._directory = directory
        self._environ = clean_environ(NO_COLOR="1", PYTHONUNBUFFERED="1") | dict(environ)
        self._log = directory / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.started_at = datetime.max.replace(tzinfo=UTC)

    def __enter__(self) -> Self:
        self.started_at = datetime.now(UTC)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_the_tests,
            )
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.is_running:
            self.signal(signal.SIGKILL)
            self.wait()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None, "the worker was not started"
        os.kill(self._process.pid, number)

    def wait(self) -> int:
        """Wait until it has ended; its exit status, negative for a signal."""
        assert self._process is not None, "the worker was not started"
        try:
            return self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end:\n{self.log_end}") from None

    @property
    def log_end(self) -> str:
        return self.log[-LOG_CHARS_SHOWN:]


def connected(api: Api, worker: SeedWorker, count: int = 1) -> list[dict[str, Any]]:
    """Wait until the app has so many connections; by their instances' names."""

    def look() -> list[dict[str, Any]] | None:
        found = [
            each
            for each in api.workers(status="READY")
            if [app["id"] for app in each["apps"]] == [APP_ID]
            # The server may not yet have seen another test's program end.
            and datetime.fromisoformat(each["connectedAt"]) >= worker.started_at - A_MOMENT
        ]
        found.sort(key=lambda each: str(each["instanceId"]))
        assert worker.is_running, f"the program has ended:\n{worker.log_end}"
        return found if len(found) == count else None

    return wait_for(look, lambda: f"{count} connections:\n{worker.log_end}", timeout_s=READY_S)


def check(api: Api, worker: SeedWorker, snippet: Snippet) -> None:
    """The program connects as the block says, and the page's function runs in it once."""
    connections = connected(api, worker, len(snippet.connections))
    for seen, wanted in zip(connections, snippet.connections, strict=True):
        assert wanted.items() <= (seen["apps"][0] | seen).items()

    check_run(api, worker)

    poll(
        lambda: all(text in worker.log for text in snippet.says),
        f"the program to print {snippet.says}",
        timeout_s=5,
    )


def check_run(api: Api, worker: SeedWorker) -> None:
    """An event of the page's gives one completed run of its function, which prints once."""
    wait_for(lambda: _is_in_force(api) or None, "the program's version to be in force")
    before = worker.log.count("Function called")
    event_id = api.send(EVENT, {"user_id": "123"})

    result = api.completed(event_id, timeout_s=RUN_ENDS_S)
    assert result in (None, {"success": True})  # in Go it returns something

    assert api.run(api.run_id(event_id))["function"]["slug"] == FUNCTION
    poll(lambda: worker.log.count("Function called") == before + 1, "the print", timeout_s=5)


def _is_in_force(api: Api) -> bool:
    found = api.request("GET", "/dev")
    if found.status == 404:
        return True  # a server with keys, of one program only
    functions = json.loads(found.body)["functions"]
    return any({"event": EVENT} in function["triggers"] for function in functions)


def need(path: Path, tool: str) -> None:
    """Skip the test where the tool that makes this file is not installed; a CI must have it."""
    if not path.exists():
        if not os.environ.get("CI") and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed, so {path} was not made")
        raise AssertionError(f"{path} is missing; `make test` makes it")
