"""A server, its data and its workers, and the means to hurt them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.chaos.rows import Rows, read_rows
from tests.compat.api import Api, wait_for
from tests.compat.lasting_server import LastingServer
from tests.compat.worker import OURS, Sdk, Stage, WorkerProcess
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faulty_disk.orders import FaultyDisk

APPS = Path(__file__).with_name("apps")
APP_ID = "chaos"

_ESTABLISHED = "01"


class Scene:
    """One test's world; leaving it in peace checks that the server has nothing left to do.

    Args:
        arguments: Of the server.
        data_dir: Of the server, if it is not in `directory`.
        disk: What the server has in place of the real one.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        data_dir: Path | None = None,
        disk: FaultyDisk | None = None,
    ) -> None:
        self.stage = Stage(directory / "stage")
        self.server = LastingServer(
            *arguments,
            data_dir=data_dir or directory / "data",
            environ=None if disk is None else disk.environ,
            module="stepwell.cli" if disk is None else "tests.faulty_disk",
        )
        self.api = Api(lambda: self.server.api_url)
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._running.enter_context(self.server)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        with self._running:
            if kind is None:
                self.server.kill()
                read_rows(self.server.data_dir).assert_settled()

    # --- workers ---

    def worker(self, sdk: Sdk = OURS, **environ: str) -> WorkerProcess:
        """Start the app `work` and wait until the server counts on it."""
        worker = self.start_worker(sdk, **environ)
        worker.ready(self.api)
        return worker

    def start_worker(self, sdk: Sdk = OURS, **environ: str) -> WorkerProcess:
        """Start the app `work` and wait for nothing."""
        return self._start("work", sdk, environ)

    def raw_worker(self, call: str) -> WorkerProcess:
        """Start the app `raw` and wait until the server counts on it; `call` is what it does with
        its call."""
        raw = self._start("raw", Sdk(OURS.name, OURS.python, {}), {"RAW_CALL": call})
        raw.ready(self.api)
        return raw

    def _start(self, app: str, sdk: Sdk, environ: dict[str, str]) -> WorkerProcess:
        worker = WorkerProcess(
            (APPS / f"{app}.py").read_text(),
            sdk=sdk,
            url=self.server.api_url,
            app_id=APP_ID,
            stage=self.stage,
            environ=environ,
        )
        return self._running.enter_context(worker)

    # --- the server ---

    def kill_server(self) -> Rows:
        """Kill it, and read what it has left."""
        self.server.kill()
        rows = read_rows(self.server.data_dir)
        assert rows.stranded == 0
        return rows

    @contextlib.contextmanager
    def server_stopped(self) -> Iterator[None]:
        """The server does nothing meanwhile, and then goes on unless it was killed."""
        pid = self.server.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def reply_arrives(self, size: int) -> None:
        """Wait until the stopped server has so many bytes from workers that it has not read."""
        poll(lambda: self._unread() >= size, "the reply to be sent", timeout_s=10)

    def _unread(self) -> int:
        """Bytes in the kernel that the gateway has not read."""
        port = int(self.server.gateway_url.rpartition(":")[2].partition("/")[0])
        unread = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _ESTABLISHED:
                unread += int(fields[4].rpartition(":")[2], 16)
        return unread

    # --- runs ---

    def send(self, name: str, **data: Any) -> str:
        """Send an event of the app; its id."""
        return self.api.send(f"{APP_ID}/{name}", data)

    def step_waits(self, run_id: str, name: str, status: str) -> None:
        """Wait until a step is shown with this status."""
        wait_for(
            lambda: next(
                (s for s in self.api.steps(run_id) if (s.name, s.status) == (name, status)), None
            ),
            f"step {name} to be {status}",
        )

    def completed_once(self, event_id: str, *names: str, timeout_s: float = 30.0) -> None:
        """The event's run ends well: each of these steps is there once, in this order if it has
        one, and its committed result, which the function returned, is that of one body."""
        output = self.api.completed(event_id, timeout_s=timeout_s)
        run_id = self.api.run_id(event_id)
        steps = [step for step in self.api.steps(run_id) if step.op == "RUN"]
        assert [step.name for step in steps] == list(names) or (
            len(names) > 2 and sorted(step.name for step in steps) == sorted(names)
        )
        for step in steps:
            result = step.output["data"][:32]
            assert step.status == "COMPLETED"
            assert output[step.name] == result
            assert [note["result"] for note in self.bodies(step.name, run_id)].count(result) == 1

    def bodies(self, step: str, run_id: str) -> list[dict[str, Any]]:
        """How a step's body ran in a run: a note for each time."""
        return [note for note in self.stage.ran(step) if note["run"] == run_id]
