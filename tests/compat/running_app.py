"""The app of the scenarios at work against a server of its own, with everything recorded."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec

from tests.compat.api import OVER, Api, wait_for
from tests.compat.api_tap import ApiTap
from tests.compat.connect_tap import PATH, ConnectTap
from tests.compat.http_tap import HttpTap
from tests.compat.lasting_server import LastingServer, free_port
from tests.compat.recording import Recording
from tests.server_process import clean_environ, die_with_the_tests

if TYPE_CHECKING:
    from tests.compat.api_tap import Report
    from tests.compat.languages import Language
    from tests.compat.recording import Call

READY_S = 30.0
ENDS_S = 15.0
LOG_CHARS_SHOWN = 4_000
REFUSED = "apps refused"
"""What the server logs of a worker that it turns away."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How an app and its server are started when it is not as usual.

    Attributes:
        retry_interval_s: 0 is the schedule that users get.
        path: Of the app, where it is served.
        bad: A function that must not be registered comes with the others; see the programs.
    """

    retry_interval_s: float = 0.3
    path: str = ""
    bad: str = ""


class AppProcess:
    """A language's program, which says by a line of JSON when it is ready.

    Args:
        place: What it is told beside its transport: an address, or the instance's id.
        url: Of the server.
        bad: See `Options`.
    """

    def __init__(
        self,
        language: Language,
        transport: str,
        place: str,
        *,
        url: str,
        scratch: Path,
        bad: str = "",
    ) -> None:
        self._language = language
        self._source = language.place_source(scratch)
        self._command = [*language.program, *self._source, transport, place]
        self._environ = clean_environ(
            BAD=bad,
            INNGEST_DEV=url,
            LEAVE_OUT=",".join(language.leaves_out),
            NO_COLOR="1",
            PYTHONUNBUFFERED="1",
            **language.environ,
        )
        self._log = scratch / "app.log"
        self._cwd = scratch
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread
        self._said = threading.Event()
        self.facts: dict[str, Any] = {}

    @property
    def log(self) -> str:
        """The end of what it printed."""
        if not self._log.exists():
            return ""
        return self._log.read_text(errors="replace")[-LOG_CHARS_SHOWN:]

    @property
    def pid(self) -> int:
        assert self._process is not None, "the app was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, once more if it was killed; see `ready`."""
        self._said.clear()
        self._process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_the_tests,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def ready(self) -> None:
        """Wait for its word."""
        if not self._said.wait(READY_S) or not self.facts:
            raise AssertionError(f"{self._language.name} did not get ready:\n{self.log}")

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None, "its output is a pipe"
        with self._log.open("ab", buffering=0) as log:
            for line in process.stdout:
                log.write(line)
                if line.startswith(b'{"') and b'"ready"' in line:
                    self.facts = msgspec.json.decode(line)
                    self._said.set()
        process.stdout.close()
        self._said.set()  # it ended: nobody need wait for more

    def end(self) -> None:
        """End it for good."""
        for path in self._source:
            Path(path).unlink(missing_ok=True)
        self.kill()

    def kill(self) -> None:
        """End it at once: some take their time when they are asked. It may be started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ENDS_S)
            self._reader.join(ENDS_S)
            self._process = None


class RunningApp:
    """The app in one language over one transport, its server, and all that went between them."""

    def __init__(
        self,
        language: Language,
        transport: str,
        *,
        scratch: Path,
        options: Options = Options(),  # noqa: B008 - it cannot change
    ) -> None:
        self.language = language
        self.transport = transport
        self.options = options
        self.recording = Recording()
        self._scratch = scratch
        self._running = contextlib.ExitStack()
        self.server: LastingServer
        self.api: Api
        self.app: AppProcess
        self.tap: HttpTap | ConnectTap
        self.api_tap: ApiTap
        self.refusal = ""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._running.close()

    def _start(self) -> None:
        if self.transport == "connect":
            self._start_connected()
        else:
            self._start_served()

    def _start_connected(self) -> None:
        self.tap = tap = self._running.enter_context(ConnectTap(self.recording))
        port = free_port()
        tap.target = f"ws://127.0.0.1:{port}{PATH}"
        self._run_server("--connect-gateway-port", str(port), "--connect-public-url", tap.url)
        instance = f"{self.language.name}-{self._scratch.name}"
        self._run_app(instance)
        if self.options.bad:
            self.refusal = wait_for(
                lambda: next(
                    (each for each in self.server.log.splitlines() if REFUSED in each), None
                ),
                lambda: f"the worker's apps to be refused:\n{self.logs}",
                timeout_s=READY_S,
            )
            return
        self.app.ready()
        wait_for(
            lambda: self.api.workers(instanceId=instance, status="READY") or None,
            lambda: f"the worker to be ready:\n{self.logs}",
            timeout_s=READY_S,
        )

    def _start_served(self) -> None:
        self.tap = tap = self._running.enter_context(HttpTap(self.recording))
        tap.target = free_port()
        self._run_server()
        self._run_app(f"127.0.0.1:{tap.target}")
        self.app.ready()
        path = self.options.path or urlsplit(self.app.facts["url"]).path
        status, body = _put(f"{tap.origin}{path}")
        if self.options.bad:
            # Python's SDK answers 200 all the same; what it says is in the body.
            assert status >= 400 or b"invalid" in body, f"not refused: {status} {body!r}"
            self.refusal = f"{status} {body!r}"
            return
        assert status == 200, f"the app was not synced: {status} {body!r}\n{self.logs}"

    def _run_server(self, *arguments: str) -> None:
        retry = ("--retry-interval", str(self.options.retry_interval_s))
        self.server = LastingServer(*retry, *arguments, data_dir=self._scratch / "data")
        self.api = Api(lambda: self.server.api_url)
        self.api_tap = self._running.enter_context(ApiTap(lambda: self.server.api_url))
        self._running.enter_context(self.server)

    def _run_app(self, place: str) -> None:
        self.app = AppProcess(
            self.language,
            self.transport,
            place,
            url=self.api_tap.origin,
            scratch=self._scratch,
            bad=self.options.bad,
        )
        self._running.callback(self.app.end)
        self.app.start()

    @property
    def logs(self) -> str:
        """The ends of what the app and the server wrote."""
        return f"{self.app.log}\n{self.server.log[-LOG_CHARS_SHOWN:]}"

    # --- what scenarios ask ---

    def send(self, name: str, data: dict[str, Any] | None = None, **fields: Any) -> str:
        """Send one event; its internal id."""
        return self.api.send(name, data, **fields)

    def calls(self, event_id: str) -> list[Call]:
        """The calls of the one run that an event started, in order."""
        return self.recording.of(self.api.run_id(event_id))

    def reports(self, event_id: str) -> list[Report]:
        """The checkpoints of the one run that an event started, in order."""
        return self.api_tap.of(self.api.run_id(event_id))

    def restart_app(self) -> None:
        """Kill the app and start it again, with what it had."""
        self.app.kill()
        self.app.start()
        self.app.ready()

    def waiting(self, event_id: str) -> None:
        """Wait until the event's one run waits for something, and the server knows of it.

        For functions whose one step is the wait: another kind of step would count as one.
        """

        def look() -> bool | None:
            runs = self.api.runs_of(event_id)
            steps = [step for run in runs for step in self.api.steps(run["run_id"])]
            return any(step.ended_at is None for step in steps) or None

        wait_for(look, lambda: f"a step that waits: {self.api.runs_of(event_id)}")

    def over(self, event_id: str) -> bool | None:
        """True if the event's one run has ended, else None."""
        return self.api.status(event_id) in OVER or None

    def functions_of(self, event_id: str) -> list[str]:
        """The functions that an event has started, by id."""
        runs = self.api.runs_of(event_id)
        return sorted({self.api.run(run["run_id"])["function"]["slug"] for run in runs})

    def signal(self, name: str, data: Any) -> str | None:
        """Send a signal; the run that it woke, None where nobody waited."""
        body = msgspec.json.encode({"signal": name, "data": data})
        answer = self.api.request("POST", "/v1/signals", body)
        if answer.status == 404:
            return None
        assert answer.status == 200, f"signal refused: {answer.status} {answer.body!r}"
        run_id: str = answer.json()["data"]["run_id"]
        return run_id

    def settled(self) -> None:
        """Return when everything that was sent before has been matched and started."""
        self.api.completed(self.send("echo", {"value": "settled"}))


def _put(url: str) -> tuple[int, bytes]:
    split = urlsplit(url)
    connection = http.client.HTTPConnection(split.netloc, timeout=10)
    try:
        connection.request("PUT", split.path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
