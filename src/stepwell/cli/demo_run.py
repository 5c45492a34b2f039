"""What `stepwell demo` does. The server runs in this process, the worker in a child.

The child ends when its standard input does, so it cannot outlive this process. What is left if
this process is killed is its temporary directory, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import uvloop

from stepwell.cli.api import Api
from stepwell.cli.demo_story import APP, EVENT, FUNCTION, ORDER
from stepwell.cli.screen import open_screen
from stepwell.cli.serving import require_assertions
from stepwell.cli.target import resolve as resolve_target
from stepwell.cli.text import COLORS, duration, error_text, parse_time_ms
from stepwell.cli.trace import ENDED, TraceFollower, progress
from stepwell.errors import StepwellError
from stepwell.server.app import Server
from stepwell.server.logging import setup_logging
from stepwell.server.setting_sources import resolve as resolve_settings
from stepwell.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stepwell.cli.screen import Screen

T = TypeVar("T")

WHOLE_S = 50.0  # It takes about four seconds; a machine that needs this long has a problem.
WORKER_LEAVES_S = 5.0
POLL_S = 0.03
LOG_LINES_SHOWN = 20


class DemoFailed(StepwellError):
    """The demo did not come to its end."""

    code = "demo_failed"


def run_demo() -> int:
    """Run the whole demo; 0 if the run completed.

    Raises:
        DemoFailed: It did not; the message says why.
    """
    require_assertions()
    setup_logging(not sys.stderr.isatty(), "warning")
    with (
        tempfile.TemporaryDirectory(prefix="stepwell-demo-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_until_signal(Path(folder)))


async def _until_signal(folder: Path) -> int:
    """The demo, cut short by the first signal; everything is cleaned up either way."""
    signals: list[int] = []
    task = asyncio.current_task()
    assert task is not None, "a coroutine that runs has a task"

    def on_signal(number: int) -> None:
        signals.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    try:
        with open_screen() as screen:
            await _Demo(screen, folder).run()
    except asyncio.CancelledError:
        if not signals:
            raise
        return 128 + signals[0]
    return 0


class _Demo:
    """One showing. `_doing` says what is waited for, for the message if it does not come."""

    def __init__(self, screen: Screen, folder: Path) -> None:
        self._screen = screen
        self._folder = folder
        self._doing = "start the server"
        self._worker: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        try:
            async with asyncio.timeout(WHOLE_S):
                await self._run()
        except TimeoutError as error:
            raise self._failed(f"it could not {self._doing} within {WHOLE_S:g} s") from error

    async def _run(self) -> None:
        settings = resolve_settings(
            "dev",
            {
                "port": "0",
                "connect_gateway_port": "0",
                "data_dir": str(self._folder / "data"),
                "retry_interval": "1",
                "config": os.devnull,
            },
            environ={},
        )
        say = self._screen.line
        say(f"Stepwell {__version__} demo")
        say("")
        began_s = time.monotonic()
        async with Server(settings) as server:
            say(f"server    {server.api_url}, data in a temporary directory")
            async with self._working(server.api_url) as worker:
                with Api(resolve_target(url=server.api_url, environ={}, cwd=self._folder)) as api:
                    await self._poll(api, "connect its worker", _worker_is_ready)
                    say(f"worker    process {worker.pid}, connected to {server.gateway_url}")
                    run = await self._show_run(api)
        self._sum_up(run, time.monotonic() - began_s)

    @contextlib.asynccontextmanager
    async def _working(self, api_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The worker's process, gone at the end of the block."""
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STEPWELL_", "INNGEST_"))
        }
        with self._log_path.open("wb") as log:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "stepwell.cli.demo_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environ | {"STEPWELL_DEV": api_url},
                start_new_session=True,  # a Ctrl-C in the terminal is this process's to handle
            )  # fmt: skip
        self._worker = worker
        try:
            yield worker
        finally:
            await asyncio.shield(_end(worker))

    async def _show_run(self, api: Api) -> dict[str, Any]:
        """Send the event, show its run until it ends, and return it."""
        self._doing = "send the event"
        event_id = (await asyncio.to_thread(api.send, [{"name": EVENT, "data": ORDER}]))[0]
        self._screen.line(f"event     {EVENT}  {event_id}")

        def started(api: Api) -> dict[str, Any] | None:
            return next(api.pages(f"/v2/events/{event_id}/runs", limit=1), None)

        run = await self._poll(api, "start a run", started)
        path = f"/v2/runs/{run['id']}"
        since_ms = parse_time_ms(run.get("queuedAt")) or 0
        self._screen.line(f"run       {APP}/{FUNCTION}  {run['id']}")
        self._screen.line("")
        self._screen.line("Committed by the server, in this order:")
        self._screen.line("")
        follower = TraceFollower()

        def ended(api: Api) -> dict[str, Any] | None:
            trace = api.get(path + "/trace", [("includeOutput", "true")])
            root: dict[str, Any] = trace["data"]["rootSpan"]
            for commit in follower.commits(root):
                self._screen.line("  " + commit.line(since_ms), color=COLORS.get(commit.status))
            self._screen.status(progress(root, round(time.time() * 1000)))
            return root if root.get("status") in ENDED else None

        await self._poll(api, "finish the run", ended)
        whole = await asyncio.to_thread(api.get, path, [("includeOutput", "true")])
        self._screen.status("stopping worker and server")
        found: dict[str, Any] = whole["data"]
        return found

    async def _poll(self, api: Api, doing: str, probe: Callable[[Api], T | None]) -> T:
        """Ask the server until `probe` has an answer, while the worker lives."""
        self._doing = doing
        self._screen.status(doing)
        while True:
            answer = await asyncio.to_thread(probe, api)
            if answer is not None:
                return answer
            if self._worker is not None and self._worker.returncode is not None:
                raise self._failed(f"its worker ended with status {self._worker.returncode}")
            await asyncio.sleep(POLL_S)

    def _sum_up(self, run: dict[str, Any], took_s: float) -> None:
        say = self._screen.line
        self._screen.status("")
        say("")
        if run["status"] != "COMPLETED":
            raise self._failed(
                f"the run is {run['status'].lower()}: {error_text(run.get('output'))}"
            )
        say(f"Completed in {duration(run.get('durationMs', 0))}: "
            f"{msgspec.json.encode(run.get('output')).decode()}", color="green")  # fmt: skip
        say(
            "Each line above was on disk before the next step began: a crash of the server or of "
            "the worker between two of them costs nothing that is shown."
        )
        say("")
        say("What to try next")
        say("")
        for command, meaning in (*_activation(), *_NEXT):
            say(f"  {command:<46}{meaning}")
        say("")
        say(f"The demo took {took_s:.1f} s and left nothing behind.")

    @property
    def _log_path(self) -> Path:
        return self._folder / "worker.log"

    def _failed(self, why: str) -> DemoFailed:
        """The error for `why`, after the end of what the worker said is on stderr."""
        if self._log_path.exists():
            lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in lines[-LOG_LINES_SHOWN:]:
                print(f"worker: {line}", file=sys.stderr)
        return DemoFailed(f"the demo failed: {why}")


_NEXT = (
    ("stepwell dev", "a server for your own functions"),
    ("python examples/hello.py", "a worker that connects to it, in another terminal"),
    ("stepwell send user.created '{\"user_id\": 7}'", "an event that starts its function"),
    ("stepwell list runs", "what became of it"),
    ("docs/tutorial/first-function.md", "the same, slowly"),
)


def _activation() -> tuple[tuple[str, str], ...]:
    """How to have `stepwell` on the PATH, if it is not."""
    if shutil.which("stepwell"):
        return ()
    return ((f". {os.path.relpath(sys.prefix)}/bin/activate", "first, in each terminal"),)


def _worker_is_ready(api: Api) -> bool | None:
    workers = api.get("/v2/workers").get("data", [])
    return any(worker.get("status") == "READY" for worker in workers) or None


async def _end(worker: asyncio.subprocess.Process) -> None:
    """Ask the worker to leave; end it if it does not."""
    if worker.returncode is None:
        worker.terminate()
        try:
            async with asyncio.timeout(WORKER_LEAVES_S):
                await worker.wait()
        except TimeoutError:
            worker.kill()
            await worker.wait()
