"""A server and workers whose calls go on, and what their ledger says."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.compat.api import Api, wait_for
from tests.compat.lasting_server import LastingServer
from tests.compat.worker import OURS, Stage, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

APP_ID = "eager"
APP = Path(__file__).with_name("apps") / "eager.py"
WAIT_S = 40.0

CHAIN = [f"step-{number}" for number in range(8)]
FAN = [f"{word}-{number}" for number in range(4) for word in ("step", "then")]


class EagerScene:
    """One test's server and workers."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.stage = Stage(directory / "stage")
        self.server = LastingServer(
            "--connect-reconnect-grace", "4", *arguments, data_dir=directory / "data"
        )
        self.api = Api(lambda: self.server.api_url)
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._running.enter_context(self.server)
        return self

    def __exit__(self, *exc: object) -> None:
        self._running.close()

    def worker(self) -> WorkerProcess:
        """Another one, when the server counts on it."""
        worker = self._running.enter_context(
            WorkerProcess(
                APP.read_text(),
                sdk=OURS,
                url=self.server.api_url,
                app_id=APP_ID,
                stage=self.stage,
            )
        )
        worker.ready(self.api)
        return worker

    def send(self, function: str, **data: Any) -> str:
        """Start a run; the event's id."""
        return self.api.send(f"{APP_ID}/{function}", data)

    def bodies(self) -> Counter[str]:
        """How often each step's body has begun."""
        return Counter(str(note["step"]) for note in self.stage.ran("begin"))

    def completed(self, event_id: str, names: Sequence[str]) -> None:
        """The run ends well, each step is there once, with the result of one of its bodies."""
        output = self.api.completed(event_id, timeout_s=WAIT_S)
        run_id = self.api.run_id(event_id)
        steps = [step for step in self.api.steps(run_id) if step.op == "RUN"]
        assert sorted(step.name for step in steps) == sorted(names)
        made = {note["result"]: note["step"] for note in self.stage.ran("begin")}
        assert [made[result] for result in output] == list(names)
        assert sorted(step.output["data"] for step in steps) == sorted(output)

    def stored(self, event_id: str, *names: str) -> None:
        """Wait until the server has these steps."""
        run_id = wait_for(lambda: self.api.run_id(event_id), "the run")
        wait_for(
            lambda: set(names) <= {step.name for step in self.api.steps(run_id)} or None,
            f"{names} to be stored",
        )
