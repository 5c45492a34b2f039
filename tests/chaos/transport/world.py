"""A server behind a network that can be cut, a worker of every SDK, and a load on all of them."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec

from tests.chaos.transport.proxy import Proxy
from tests.chaos.transport.verdict import Judge, Sent, Verdict
from tests.chaos.transport.worker import LANGUAGES, Noted
from tests.compat.api import Api, wait_for
from tests.compat.lasting_server import LastingServer, free_port
from tests.compat.worker import Stage
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.compat.languages import Language

READY_S = 40.0
LOAD_EVERY_S = 0.1
LOAD_BEFORE = 5  # runs of each SDK that have ended before the trouble begins
REFUSED_S = 90.0
LOG_CHARS_SHOWN = 6_000


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """The server's settings, in seconds, and how long the runs may take to end afterwards."""

    lease_s: float
    grace_s: float
    heartbeat_s: float
    drain_s: float
    ends_s: float

    @property
    def options(self) -> tuple[str, ...]:
        """For the server's command line."""
        return (
            "--connect-lease", f"{self.lease_s:g}",
            "--connect-reconnect-grace", f"{self.grace_s:g}",
            "--connect-heartbeat", f"{self.heartbeat_s:g}",
            "--connect-drain-wait", f"{self.drain_s:g}",
            "--retry-interval", "0.2",
        )  # fmt: skip


class World:
    """One trouble's; entered, every worker is ready, has a held run, and the load is on.

    Attributes:
        held: How many runs wait at the gate for each SDK.
        api_url: Of the server, past the network.
        gateway_url: The same.
    """

    def __init__(
        self,
        directory: Path,
        lengths: Lengths,
        *,
        held: int = 2,
        blocks: bool = False,
        languages: Sequence[Language] = LANGUAGES,
    ) -> None:
        self.lengths = lengths
        self.held = held
        self.languages = languages
        self.stage = Stage(directory / "stage")
        self.workers: list[Noted] = []
        self.sent: list[Sent] = []
        self.restarts: dict[str, int] = {language.name: 0 for language in languages}
        self._blocks = blocks
        self._running = contextlib.ExitStack()
        api_port, gateway_port = free_port(), free_port()
        self._networks = (Proxy(api_port), Proxy(gateway_port))
        self.server = LastingServer(
            *lengths.options,
            "--port", str(api_port),
            "--connect-gateway-port", str(gateway_port),
            "--connect-public-url", f"ws://127.0.0.1:{self._networks[1].port}/v0/connect",
            data_dir=directory / "data",
        )  # fmt: skip
        self.api_url = f"http://127.0.0.1:{api_port}"
        self.gateway_url = f"ws://127.0.0.1:{gateway_port}/v0/connect"
        self.api = Api(lambda: self.api_url)
        self._load = threading.Thread(target=self._send_on, daemon=True)
        self._stop_load = threading.Event()
        self._load_error: BaseException | None = None

    def __enter__(self) -> Self:
        try:
            self._running.enter_context(self.server)
            for network in self._networks:
                self._running.enter_context(network)
            self._running.callback(self._end_load)
            for language in self.languages:
                self.new_worker(language).start()
            self.ready(self.workers)
            self._hold()
            self._load.start()
            self._wait_for_load()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._running.close()

    # --- workers ---

    def new_worker(self, language: Language, version: str = "v1") -> Noted:
        """A worker that was not started."""
        url = f"http://127.0.0.1:{self._networks[0].port}"
        worker = Noted(language, version=version, url=url, stage=self.stage)
        self._running.callback(worker.remove_source)
        self._running.callback(worker.end)
        self.workers.append(worker)
        return worker

    def ready(self, workers: Sequence[Noted]) -> None:
        """Wait until the server counts on each of these."""

        def look() -> bool | None:
            self.revive()
            seen = {each["instanceId"] for each in self.api.workers(status="READY")}
            return all(worker.instance_id in seen for worker in workers) or None

        wait_for(look, lambda: f"the workers to be ready:\n{self.logs}", timeout_s=READY_S)

    def revive(self) -> None:
        """Start again whoever has given up, as a service manager does."""
        for worker in self.workers:
            if worker.is_wanted and not worker.is_running:
                self.restarts[worker.language.name] += 1
                worker.start()

    # --- the network ---

    def stall(self) -> None:
        for network in self._networks:
            network.stall()

    def reset(self) -> None:
        for network in self._networks:
            network.reset()

    def heal(self) -> None:
        for network in self._networks:
            network.heal()

    # --- runs ---

    def open_gate(self) -> None:
        """Let the long steps end."""
        self.stage.open("gate")

    def bodies_end(self) -> None:
        """Wait until the bodies that were held have ended, wherever their results went."""
        held = {note["result"] for note in self.stage.ran("begin") if note["step"] == "held"}
        pids = {note["result"]: note["pid"] for note in self.stage.ran("begin")}

        def all_ended() -> bool:
            alive = {worker.pid for worker in self.workers if worker.is_running}
            ended = {note["result"] for note in self.stage.ran("end")}
            return all(result in ended or pids[result] not in alive for result in held)

        poll(all_ended, "the long steps to end", timeout_s=READY_S)

    def settle(self) -> None:
        """Stop the load, and wait until no run is left."""
        self._end_load()
        if self._load_error is not None:
            raise self._load_error

        def over() -> bool:
            self.revive()
            return not any(
                self.api.get(f"/v2/runs?status={status}&limit=1").get("data")
                for status in ("QUEUED", "RUNNING")
            )

        try:
            poll(over, "all runs to end", timeout_s=self.lengths.ends_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._unfinished()}\n{self.logs}") from None

    def judge(self, trouble: str, settled_s: float) -> list[Verdict]:
        """Kill the server and read what it has kept."""
        self.server.kill()
        verdicts = {
            language.name: Verdict(
                trouble=trouble,
                sdk=language.name,
                restarts=self.restarts[language.name],
                settled_s=settled_s,
            )
            for language in self.languages
        }
        Judge(self.stage.notes()).judge(self.server.data_dir, self.sent, verdicts)
        return list(verdicts.values())

    @property
    def logs(self) -> str:
        """The ends of what everybody wrote."""
        logs = [worker.log for worker in self.workers]
        return "\n".join([*logs, self.server.log[-LOG_CHARS_SHOWN:]])

    def _hold(self) -> None:
        """Have a long step in flight in every worker."""
        for language in self.languages:
            data = {"gate": "gate", "blocks": self._blocks}
            # A loop that is blocked runs one body, and acknowledges no other call.
            for _ in range(1 if self._blocks else self.held):
                self._send([(language.name, data)])
        wanted = len(self.sent)
        poll(
            lambda: len(self.stage.ran("gate gate")) >= wanted,
            f"{wanted} long steps to begin",
            timeout_s=READY_S,
        )

    def _wait_for_load(self) -> None:
        """Return when the load is going; a worker whose loop is blocked cannot take part in it."""

        def is_going() -> bool:
            last = [note["pid"] for note in self.stage.ran("begin") if note["step"] == "last"]
            return self._blocks or all(last.count(w.pid) >= LOAD_BEFORE for w in self.workers)

        poll(is_going, "the load to go", timeout_s=READY_S)

    def _send(self, events: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Send events until they are acknowledged; their keys keep them from starting twice."""
        new = [
            Sent(f"key-{len(self.sent) + number}", app, bool(data), [])
            for number, (app, data) in enumerate(events)
        ]
        bodies = [
            {"name": f"{sent.app}/noted", "id": sent.key, "data": data}
            for sent, (_, data) in zip(new, events, strict=True)
        ]
        ids: list[str] = []

        def acknowledged() -> bool:
            ids.extend(self.api.send_all(bodies))
            return True

        poll(acknowledged, "events to be acknowledged", timeout_s=REFUSED_S)
        for sent, event_id in zip(new, ids, strict=True):
            sent.ids.append(event_id)
        self.sent += new

    def _send_on(self) -> None:
        try:
            while not self._stop_load.wait(LOAD_EVERY_S):
                self._send([(language.name, {}) for language in self.languages])
        except (AssertionError, OSError) as error:  # told by `settle`
            self._load_error = error

    def _end_load(self) -> None:
        self._stop_load.set()
        if self._load.is_alive():
            self._load.join(REFUSED_S)

    def _unfinished(self) -> str:
        runs = [
            run
            for status in ("QUEUED", "RUNNING")
            for run in self.api.get(f"/v2/runs?status={status}&limit=5").get("data", [])
        ]
        return "\n".join(f"{run['function']['slug']} {run['id']}" for run in runs if "id" in run)


def over_time(seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
    """A fault lasts so long; nothing is waited for."""
    deadline_s = time.monotonic() + seconds
    while (left_s := deadline_s - time.monotonic()) > 0:
        meanwhile()
        time.sleep(min(0.1, left_s))
